"""The images of a data set as a network takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.data._images import check_classes, fitted

if TYPE_CHECKING:
    from trainers.data.dataset import Dataset, Images
    from trainers.models.arch_spec import ArchSpec


def images_for(data: Dataset, spec: ArchSpec) -> Images:
    """The data set's images as a network of this spec takes them.

    Raises:
        UserError: when they are not here, have more classes than the network, or are latents of another size.
    """
    images = data.load()
    check_classes(images, spec.network.classes)
    return fitted(images, image_size=spec.image_size, channels=spec.image_channels)
