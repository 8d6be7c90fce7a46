"""Decoding: every kind of picture comes out upright, in RGB, 8 bits; damaged ones are named."""

import numpy as np
import pytest
from PIL import Image

from htc.data.errors import ChannelError, DatasetError
from htc.data.pictures import picture_size, read_label_map, read_picture, resize_picture

RANDOM = np.random.default_rng(5)
RGB = RANDOM.integers(0, 256, (12, 20, 3), np.uint8)


def save(path, array, mode=None, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def smooth():
    """A picture that JPEG keeps well: a ramp each way."""
    y, x = np.mgrid[:48, :80]
    return np.stack([y * 5, x * 3, 255 - y * 2 - x], 2).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation(tmp_path, orientation, suffix):
    upright = smooth()
    # How a camera held in that way stores the picture (EXIF 2.3, tag 0x0112: where row 0 and
    # column 0 of what is stored are in the upright picture).
    stored = {
        1: upright,
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.transpose(1, 0, 2),  # left, top
        6: upright[:, ::-1].transpose(1, 0, 2),  # right, top
        7: upright[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
        8: upright[::-1].transpose(1, 0, 2),  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"quality": 98, "subsampling": 0} if suffix == "jpg" else {}
    save(path, np.ascontiguousarray(stored), exif=exif, **options)
    picture = read_picture(path)
    assert picture.shape == upright.shape
    assert np.abs(picture.astype(int) - upright).max() <= (6 if suffix == "jpg" else 0)
    assert picture_size(path) == (48, 80, orientation)
    assert picture.flags.writeable


def test_grey(tmp_path):
    path = save(tmp_path / "a.png", RGB[:, :, 0])
    assert (read_picture(path) == RGB[:, :, :1]).all() and read_picture(path).shape == RGB.shape


def test_grey_with_alpha(tmp_path):
    path = save(tmp_path / "a.png", np.ascontiguousarray(RGB[:, :, :2]))
    assert Image.open(path).mode == "LA"
    assert (read_picture(path) == RGB[:, :, :1]).all()


def test_black_and_white(tmp_path):
    bits = RGB[:, :, 0] > 127
    path = save(tmp_path / "a.png", bits)
    assert (read_picture(path) == 255 * bits[..., None]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits(tmp_path, suffix):
    values = np.array([[0, 128, 129, 256, 257, 32768, 65535]], np.uint16)
    path = save(tmp_path / f"a.{suffix}", values)
    expected = np.round(values / 257).astype(np.uint8)
    assert (read_picture(path) == expected[..., None]).all()
    assert read_picture(path).max() == 255 and read_picture(path)[0, 3, 0] == 1


def test_alpha_is_dropped(tmp_path):
    rgba = np.dstack([RGB, RANDOM.integers(0, 256, RGB.shape[:2], np.uint8)])
    assert (read_picture(save(tmp_path / "a.png", rgba)) == RGB).all()


def test_palette_with_transparency(tmp_path):
    image = Image.fromarray(RGB).quantize(16)
    path = save(tmp_path / "a.png", image, transparency=bytes(range(0, 160, 10)))
    assert (read_picture(path) == np.asarray(image.convert("RGB"))).all()


def test_cmyk_jpeg(tmp_path):
    path = save(tmp_path / "a.jpg", smooth(), "CMYK", quality=98)
    assert Image.open(path).mode == "CMYK"
    assert np.abs(read_picture(path).astype(int) - smooth()).max() <= 8


def test_floating_point_has_no_meaning_as_rgb(tmp_path):
    path = save(tmp_path / "a.tif", np.zeros((3, 4), np.float32))
    with pytest.raises(DatasetError, match=r"picture 9: .*a\.tif: expected whole numbers"):
        read_picture(path, "picture 9")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_truncated(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", RANDOM.integers(0, 256, (80, 90, 3), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DatasetError, match=rf"picture 9: cannot read .*a\.{suffix}: \w+"):
        read_picture(path, "picture 9")


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_not_a_picture(tmp_path, data):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"picture 9: cannot read .*a\.png"):
        read_picture(path, "picture 9")


def test_missing(tmp_path):
    with pytest.raises(DatasetError, match=r"picture 9: no such file: .*gone\.jpg"):
        read_picture(tmp_path / "gone.jpg", "picture 9")


def test_a_damaged_exif_block_does_no_harm(tmp_path):
    path = save(tmp_path / "a.jpg", smooth(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_picture(path).shape == smooth().shape


@pytest.mark.parametrize("size", [(37, 61), (12, 20), (24, 25)])
def test_enlarging_is_bilinear(size):
    # By hand: the weights of the two nearest pixel centres, each way.
    def weights(length, resized):
        centre = (np.arange(resized) + 0.5) * length / resized - 0.5
        low = np.floor(centre).astype(int)
        matrix = np.zeros((resized, length))
        for row, (left, share) in enumerate(zip(low, centre - low, strict=True)):
            matrix[row, np.clip(left, 0, length - 1)] += 1 - share
            matrix[row, np.clip(left + 1, 0, length - 1)] += share
        return matrix

    rows, columns = weights(12, size[0]), weights(20, size[1])
    expected = np.einsum("yh,xw,hwc->yxc", rows, columns, RGB.astype(float))
    result = resize_picture(RGB, *size)
    assert result.shape == (*size, 3)
    assert np.abs(result - expected).max() <= 1.01  # Pillow rounds after each direction


class TestLabelMaps:
    def test_values_are_ids(self, tmp_path):
        labels = RGB[:, :, 1]
        assert (read_label_map(save(tmp_path / "a.png", labels)) == labels).all()

    def test_a_palette_file_holds_ids(self, tmp_path):
        image = Image.fromarray(RGB[:, :, 0] % 7)
        image.putpalette([1, 2, 3] * 256)
        assert (read_label_map(save(tmp_path / "a.png", image)) == RGB[:, :, 0] % 7).all()

    def test_sixteen_bits_of_small_ids(self, tmp_path):
        path = save(tmp_path / "a.png", (RGB[:, :, 0]).astype(np.uint16))
        assert (read_label_map(path) == RGB[:, :, 0]).all()

    def test_ids_above_255(self, tmp_path):
        path = save(tmp_path / "a.png", np.full((3, 3), 300, np.uint16))
        with pytest.raises(DatasetError, match=r"semantic map of picture 9: .*got 300\.\.300"):
            read_label_map(path, "picture 9")

    def test_several_channels(self, tmp_path):
        path = save(tmp_path / "a.png", RGB)
        with pytest.raises(ChannelError, match=r"picture 9: .*a\.png: .*one channel.*got 3 .RGB"):
            read_label_map(path, "picture 9")

    def test_missing(self, tmp_path):
        with pytest.raises(
            DatasetError, match=r"semantic map of picture 9: no such file: .*a\.png"
        ):
            read_label_map(tmp_path / "a.png", "picture 9")
