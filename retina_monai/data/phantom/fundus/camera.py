"""Cameras by which a phantom is photographed: field of view, colours, light, sharpness, noise.

The named ones are modelled on public data sets: colours of the fundus, loss of light towards the rim and shape of the
field are those of the photographs of CHASE_DB1, HRF, FIVES and IDRiD. ``drive`` follows a description (Staal et al.,
"Ridge-based vessel segmentation in color images of the retina", IEEE TMI 2004), and ``handheld`` is what portable
cameras are to table-top ones: a narrower field, uneven light, haze, blur, noise.
"""

from __future__ import annotations

from dataclasses import dataclass

from retina_monai.errors import RetinaError

__all__ = ["ANY_CAMERA", "CAMERAS", "Camera", "find_camera"]

Range = tuple[float, float]


@dataclass(frozen=True)
class Camera:
    """Ranges from which each photograph draws; the defaults are those of a random camera.

    Attributes:
        degrees: field of view; ``None``: that of the eye.
        at_disc: whether it is aimed at the disc, not at the macula.
        clip: share of the field's radius at which it is cut off above and below, 1 if it is not.
        red: of the background under full light, 0 to 255 and above (a saturated sensor).
        green: median, log standard deviation, least and greatest ratio of green to red.
        blue: the same for blue to green.
        fall: logarithm of the light lost from the brightest point to one radius away.
        rim: the same, in the outermost tenth.
        haze: how often a veil of stray light lies over the rim, and its strength.
        blur: standard deviation in pixels of a picture of 256 a side; in larger ones it grows with the side.
        read: standard deviation of the noise in the dark, grey levels.
        shot: noise that grows with light: standard deviation in grey levels at full light.
    """

    degrees: float | None = None
    at_disc: bool = False
    clip: float = 1.0
    red: Range = (140.0, 250.0)
    green: tuple[float, float, float, float] = (0.37, 0.2, 0.27, 0.53)
    blue: tuple[float, float, float, float] = (0.33, 0.45, 0.1, 0.65)
    fall: Range = (0.2, 0.9)
    rim: Range = (0.1, 0.5)
    haze: tuple[float, float, float] = (0.3, 0.1, 0.4)
    blur: Range = (0.05, 0.5)
    read: Range = (1.5, 4.0)
    shot: Range = (0.0, 0.0)


ANY_CAMERA = Camera()

CAMERAS = {
    "chase_db1": Camera(
        degrees=30,
        at_disc=True,
        red=(150, 265),
        green=(0.34, 0.14, 0.26, 0.5),
        blue=(0.14, 0.3, 0.08, 0.28),
        fall=(0.7, 1.1),
        rim=(0.1, 0.3),
        haze=(0.0, 0.0, 0.0),
        blur=(0.2, 0.4),
        read=(1.0, 1.5),
        shot=(2.0, 4.0),
    ),
    "drive": Camera(
        degrees=45,
        red=(170, 240),
        green=(0.48, 0.1, 0.38, 0.6),
        blue=(0.5, 0.15, 0.35, 0.65),
        fall=(0.3, 0.7),
        rim=(0.1, 0.4),
        haze=(0.2, 0.1, 0.2),
        blur=(0.35, 0.5),
        read=(1.5, 2.5),
        shot=(3.0, 5.0),
    ),
    "fives": Camera(
        degrees=50,
        red=(115, 190),
        green=(0.49, 0.1, 0.39, 0.58),
        blue=(0.35, 0.2, 0.25, 0.55),
        fall=(0.1, 0.35),
        rim=(0.1, 0.3),
        haze=(0.5, 0.1, 0.3),
        blur=(0.05, 0.3),
        read=(0.8, 1.5),
        shot=(1.0, 2.0),
    ),
    "handheld": Camera(
        degrees=40,
        red=(120, 200),
        green=(0.5, 0.12, 0.38, 0.65),
        blue=(0.6, 0.2, 0.4, 0.9),
        fall=(0.8, 1.5),
        rim=(0.3, 0.7),
        haze=(0.8, 0.3, 0.6),
        blur=(0.7, 1.2),
        read=(4.0, 6.0),
        shot=(6.0, 9.0),
    ),
    "hrf": Camera(
        degrees=45,
        clip=0.72,
        red=(200, 245),
        green=(0.31, 0.12, 0.25, 0.38),
        blue=(0.5, 0.15, 0.42, 0.72),
        fall=(0.3, 0.6),
        rim=(0.2, 0.5),
        haze=(0.0, 0.0, 0.0),
        blur=(0.05, 0.12),
        read=(0.5, 1.0),
        shot=(1.0, 2.0),
    ),
    "idrid": Camera(
        degrees=50,
        clip=0.83,
        red=(150, 260),
        green=(0.44, 0.15, 0.33, 0.55),
        blue=(0.12, 0.6, 0.03, 0.56),
        fall=(0.2, 0.8),
        rim=(0.1, 0.3),
        haze=(0.1, 0.1, 0.2),
        blur=(0.1, 0.3),
        read=(1.0, 1.5),
        shot=(1.5, 3.0),
    ),
}
"""By name."""


def find_camera(name: str | None) -> Camera:
    """The camera of that name; ``None`` is a random one.

    Raises:
        RetinaError: there is no such camera.
    """
    if name is None:
        return ANY_CAMERA
    if name not in CAMERAS:
        raise RetinaError(f"camera is one of {', '.join(CAMERAS)}, or none for a random one, not {name}")
    return CAMERAS[name]
