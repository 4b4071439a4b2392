"""Cameras of phantom photographs: field of view, colours, illumination, sharpness and noise.

``chase_db1``, ``hrf``, ``fives`` and ``idrid`` have the fundus colours, vignetting and field shape of the data set's
photographs. ``drive`` follows a description (Staal et al., "Ridge-based vessel segmentation in color images of the
retina", IEEE TMI 2004). ``handheld`` imitates portable cameras: compared with table-top cameras, the field is narrower,
the illumination is uneven, and there is more haze, blur and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

from retina_monai.errors import RetinaError

__all__ = ["ANY_CAMERA", "CAMERAS", "Camera", "find_camera"]

Range = tuple[float, float]


@dataclass(frozen=True)
class Field:
    """Field of view of a camera.

    Attributes:
        degrees: diameter in degrees, or ``None`` for that of the eye.
        at_disc: whether the camera is centred on the disc instead of the macula.
        clip: fraction of the radius at which the field is clipped at the top and bottom; 1 for no clipping.
    """

    degrees: float | None = None
    at_disc: bool = False
    clip: float = 1.0


@dataclass(frozen=True)
class Colours:
    """Colours of the background.

    Attributes:
        red: red under full illumination, 0 to 255, or above for a saturated sensor.
        green: median, log standard deviation, minimum and maximum of the ratio of green to red.
        blue: the same for the ratio of blue to green.
    """

    red: Range
    green: tuple[float, float, float, float]
    blue: tuple[float, float, float, float]


@dataclass(frozen=True)
class Light:
    """Illumination.

    Attributes:
        fall: log intensity lost from the brightest point to one radius away.
        rim: log intensity lost in the outermost tenth.
        haze: probability, minimum and maximum strength of a haze of stray light at the rim.
    """

    fall: Range
    rim: Range
    haze: tuple[float, float, float]


@dataclass(frozen=True)
class Sensor:
    """Sharpness and noise.

    Attributes:
        blur: standard deviation in pixels of an image of 256 x 256; it scales with the side.
        read: standard deviation of the signal-independent noise in grey levels.
        shot: standard deviation of the signal-dependent noise in grey levels under full illumination.
    """

    blur: Range
    read: Range
    shot: Range


@dataclass(frozen=True)
class Camera:
    """Parameter ranges of a camera, from which each photograph draws."""

    field: Field
    colours: Colours
    light: Light
    sensor: Sensor


ANY_CAMERA = Camera(
    Field(),
    Colours(red=(140.0, 250.0), green=(0.37, 0.2, 0.27, 0.53), blue=(0.33, 0.45, 0.1, 0.65)),
    Light(fall=(0.2, 0.9), rim=(0.1, 0.5), haze=(0.3, 0.1, 0.4)),
    Sensor(blur=(0.05, 0.5), read=(1.5, 4.0), shot=(0.0, 0.0)),
)

CAMERAS = {
    "chase_db1": Camera(
        Field(degrees=30, at_disc=True),
        Colours(red=(150, 265), green=(0.34, 0.14, 0.26, 0.5), blue=(0.14, 0.3, 0.08, 0.28)),
        Light(fall=(0.7, 1.1), rim=(0.1, 0.3), haze=(0.0, 0.0, 0.0)),
        Sensor(blur=(0.2, 0.4), read=(1.0, 1.5), shot=(2.0, 4.0)),
    ),
    "drive": Camera(
        Field(degrees=45),
        Colours(red=(170, 240), green=(0.48, 0.1, 0.38, 0.6), blue=(0.5, 0.15, 0.35, 0.65)),
        Light(fall=(0.3, 0.7), rim=(0.1, 0.4), haze=(0.2, 0.1, 0.2)),
        Sensor(blur=(0.35, 0.5), read=(1.5, 2.5), shot=(3.0, 5.0)),
    ),
    "fives": Camera(
        Field(degrees=50),
        Colours(red=(115, 190), green=(0.49, 0.1, 0.39, 0.58), blue=(0.35, 0.2, 0.25, 0.55)),
        Light(fall=(0.1, 0.35), rim=(0.1, 0.3), haze=(0.5, 0.1, 0.3)),
        Sensor(blur=(0.05, 0.3), read=(0.8, 1.5), shot=(1.0, 2.0)),
    ),
    "handheld": Camera(
        Field(degrees=40),
        Colours(red=(120, 200), green=(0.5, 0.12, 0.38, 0.65), blue=(0.6, 0.2, 0.4, 0.9)),
        Light(fall=(0.8, 1.5), rim=(0.3, 0.7), haze=(0.8, 0.3, 0.6)),
        Sensor(blur=(0.7, 1.2), read=(4.0, 6.0), shot=(6.0, 9.0)),
    ),
    "hrf": Camera(
        Field(degrees=45, clip=0.72),
        Colours(red=(200, 245), green=(0.31, 0.12, 0.25, 0.38), blue=(0.5, 0.15, 0.42, 0.72)),
        Light(fall=(0.3, 0.6), rim=(0.2, 0.5), haze=(0.0, 0.0, 0.0)),
        Sensor(blur=(0.05, 0.12), read=(0.5, 1.0), shot=(1.0, 2.0)),
    ),
    "idrid": Camera(
        Field(degrees=50, clip=0.83),
        Colours(red=(150, 260), green=(0.44, 0.15, 0.33, 0.55), blue=(0.12, 0.6, 0.03, 0.56)),
        Light(fall=(0.2, 0.8), rim=(0.1, 0.3), haze=(0.1, 0.1, 0.2)),
        Sensor(blur=(0.1, 0.3), read=(1.0, 1.5), shot=(1.5, 3.0)),
    ),
}
"""Cameras by name."""


def find_camera(name: str | None) -> Camera:
    """The camera of the given name; ``None`` is a random one.

    Raises:
        RetinaError: if there is no such camera.
    """
    if name is None:
        return ANY_CAMERA
    if name not in CAMERAS:
        raise RetinaError(f"camera must be one of {', '.join(CAMERAS)}, or None for a random one, got {name}")
    return CAMERAS[name]
