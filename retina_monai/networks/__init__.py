"""Networks that MONAI does not provide."""

from retina_monai.networks.conditioned_unet import ConditionedUNet
from retina_monai.networks.controlled_unet import ControlledUNet
from retina_monai.networks.diffusion_generator import DiffusionGenerator
from retina_monai.networks.dilated_encoder import DilatedEncoder
from retina_monai.networks.fourier_convolution import FourierConvolution, FourierUnit, SpectralTransform
from retina_monai.networks.hashed_noise import hashed_normal
from retina_monai.networks.initialization import initialize_weights
from retina_monai.networks.iternet import IterNet
from retina_monai.networks.lama_generator import LamaGenerator
from retina_monai.networks.naming import describe_network, find_network_class
from retina_monai.networks.pyramid_discriminator import PyramidDiscriminator
from retina_monai.networks.resize_convolution import ResizeConvolution
from retina_monai.networks.retina_encoder import MultiTaskEncoder, RetinaEncoder
from retina_monai.networks.unet import Pix2PixUNet

__all__ = [
    "ConditionedUNet",
    "ControlledUNet",
    "DiffusionGenerator",
    "DilatedEncoder",
    "FourierConvolution",
    "FourierUnit",
    "IterNet",
    "LamaGenerator",
    "MultiTaskEncoder",
    "Pix2PixUNet",
    "PyramidDiscriminator",
    "ResizeConvolution",
    "RetinaEncoder",
    "SpectralTransform",
    "describe_network",
    "find_network_class",
    "hashed_normal",
    "initialize_weights",
]
