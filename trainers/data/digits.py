"""The 1,797 real 8x8 digits that scikit-learn ships: the embedded default, no download."""

from dataclasses import dataclass

from trainers.data.dataset import DATA, Dataset, Images

_TEST_SHARE = 0.2
_SPLIT_SEED = 0


@DATA.register("digits")
@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """Handwritten digits, 8x8 grey, 1,438 to train and 359 to test (Alpaydin and Kaynak 1998, through scikit-learn)."""

    is_embedded = True

    def shape(self) -> tuple[int, int]:
        return 8, 1

    def load(self) -> Images:
        import torch
        from sklearn.datasets import load_digits

        from trainers.data._images import content_hash

        digits = load_digits()
        # Grey values are 0..16.
        images_NCHW = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8)[:, None]
        label_N = torch.from_numpy(digits.target).long()
        order_N = torch.randperm(len(label_N), generator=torch.Generator().manual_seed(_SPLIT_SEED))
        test, train = order_N.split(
            [round(_TEST_SHARE * len(order_N)), len(order_N) - round(_TEST_SHARE * len(order_N))]
        )
        return Images(
            train_NCHW=images_NCHW[train],
            train_label_N=label_N[train],
            test_NCHW=images_NCHW[test],
            test_label_N=label_N[test],
            name="digits",
            hash=content_hash(images_NCHW, label_N),
        )
