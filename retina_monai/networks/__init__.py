"""The networks that MONAI lacks."""

from retina_monai.networks.initialization import initialize_weights
from retina_monai.networks.resize_convolution import ResizeConvolution
from retina_monai.networks.unet import Pix2PixUNet

__all__ = ["Pix2PixUNet", "ResizeConvolution", "initialize_weights"]
