"""Images in folders, zips and lists: what is read, what is refused, and in which words."""

import io
import shutil
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from facog_lab.data import contents, decode, files, layout, listing
from facog_lab.data.decode import ImageFiles, class_source, survey
from facog_lab.data.files import open_files
from facog_lab.data.listing import DataError
from facog_lab.data.lists import read_list
from facog_lab.dataset import _statistics


def picture(seed, size=(8, 8), mode="RGB"):
    shape = size[::-1] + ((len(mode),) if len(mode) > 1 else ())
    values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(values)


def write_tree(root, counts, **picture_options):
    """{"train/cat": 3} as three PNGs."""
    for number, (folder, count) in enumerate(counts.items()):
        (root / folder).mkdir(parents=True)
        for i in range(count):
            image = picture(100 * number + i, **picture_options)
            image.save(root / folder / f"{i:03}.png")
    return root


def zipped(root, path, prefix=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in root.rglob("*"):
            archive.write(file, prefix + file.relative_to(root).as_posix())
    return path


def class_folders(files):
    found = layout.recognised(files)
    return found.train, found.test


def one(folder, name="a.png", side=8, channels=3):
    return ImageFiles(open_files(folder), [name], side, channels)[0]


@pytest.fixture
def tree(tmp_path):
    counts = {"train/b": 5, "train/a": 3, "test/b": 2, "test/a": 2}
    return write_tree(tmp_path / "tree", counts)


def test_a_folder_is_read_as_torchvision_reads_it(tree):
    source = class_source(open_files(tree))
    for half, x, y in (
        ("train", source.images, source.labels),
        ("test", source.test_images, source.test_labels),
    ):
        theirs = torchvision.datasets.ImageFolder(str(tree / half))
        assert source.class_names == tuple(theirs.classes)
        assert y.tolist() == theirs.targets
        expected = np.stack([np.asarray(image) for image, _ in theirs]).transpose(0, 3, 1, 2)
        assert torch.equal(x[torch.arange(len(x))], torch.from_numpy(expected))


@pytest.mark.parametrize("prefix", ["", "tree/", "a/b/"])
def test_a_zip_reads_as_its_folder(tree, tmp_path, prefix):
    ours = class_source(open_files(tree))
    theirs = class_source(open_files(zipped(tree, tmp_path / "tree.zip", prefix)))
    assert ours.class_names == theirs.class_names
    assert torch.equal(ours.labels, theirs.labels)
    assert torch.equal(ours.images[:], theirs.images[:])
    assert torch.equal(ours.test_images[:], theirs.test_images[:])


def test_a_zip_need_not_list_its_folders(tree, tmp_path):
    with zipfile.ZipFile(tmp_path / "bare.zip", "w") as archive:
        for file in sorted(tree.rglob("*.png"), reverse=True):
            archive.write(file, file.relative_to(tree).as_posix())
    assert class_folders(open_files(tmp_path / "bare.zip")) == class_folders(open_files(tree))


def test_classes_are_sorted_by_name_and_not_by_path(tmp_path):
    # In the order of paths, "a b/" comes before "a/".
    write_tree(tmp_path, {"train/a b": 1, "train/a": 1, "val/a": 1, "val/a b": 1})
    train, test = class_folders(open_files(tmp_path))
    assert list(train) == list(test) == ["a", "a b"]


def test_what_is_no_image_is_left_out(tree):
    (tree / "train" / "a" / ".hidden.png").write_bytes(b"")
    (tree / "train" / "a" / "Thumbs.db").write_bytes(b"")
    (tree / "__MACOSX" / "train").mkdir(parents=True)
    (tree / "readme.txt").write_text("hello")
    (tree / "train" / "b" / "deeper").mkdir()
    shutil.copy(tree / "train" / "a" / "000.png", tree / "train" / "b" / "deeper" / "x.PNG")
    train, _ = class_folders(open_files(tree))
    assert [len(names) for names in train.values()] == [3, 6]


def test_a_fifth_is_held_out_where_there_is_no_test_folder(tmp_path):
    write_tree(tmp_path / "flowers", {"a": 20, "b": 2, "c": 3})
    train, test = class_folders(open_files(tmp_path / "flowers"))
    assert {name: len(of) for name, of in test.items()} == {"a": 4, "b": 1, "c": 1}
    for name in "abc":
        both = sorted(train[name] + test[name])
        assert both == sorted(f"{name}/{i:03}.png" for i in range(len(both)))
    assert (train, test) == class_folders(open_files(tmp_path / "flowers"))
    shutil.move(tmp_path / "flowers", tmp_path / "wrapped" / "flowers")
    wrapped = class_folders(open_files(tmp_path / "wrapped"))
    assert wrapped[1]["a"] == [f"flowers/{p}" for p in test["a"]]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train/a": 1, "train/b": 0, "test/a": 1, "test/b": 1}, "train/b: a class without images"),
        ({"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 0}, "test/b: a class without images"),
        ({"train/a": 1, "train/b": 1, "test/a": 1, "test/c": 1}, "'b' has images in train/ but no"),
        ({"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 1, "test/c": 1}, "'c' has images in"),
        ({"train/a": 1, "test/a": 1, "test/c": 1}, "train: too few classes"),
        ({"a": 3, "b": 1}, "class 'b' has one image"),
        ({"a": 3}, "too few classes .1"),
        ({}, "too few classes .0"),
    ],
)
def test_trees_that_are_no_data_set(tmp_path, counts, message):
    (tmp_path / "tree").mkdir()
    write_tree(tmp_path / "tree", counts)
    with pytest.raises(DataError, match=message):
        class_folders(open_files(tmp_path / "tree"))
    with pytest.raises(DataError, match=message):
        class_folders(open_files(zipped(tmp_path / "tree", tmp_path / "tree.zip")))


def test_a_path_that_is_neither(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and then nothing")
    for name, message in (("nowhere", "no such folder"), ("broken.zip", "not a whole zip")):
        with pytest.raises(DataError, match=message):
            open_files(tmp_path / name)


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "x/../../a.png", "C:\\a.png", "..\\a"])
def test_names_that_lead_out_of_a_zip_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(DataError, match="not inside the zip's own folder"):
        open_files(tmp_path / "slip.zip")


def test_bombs_are_refused(tmp_path, monkeypatch):
    def bomb(method, size):
        with zipfile.ZipFile(tmp_path / "bomb.zip", "w", method) as archive:
            archive.writestr("a/a.png", bytes(size))
        return tmp_path / "bomb.zip"

    with pytest.raises(DataError, match="compressed more than 200 times"):
        open_files(bomb(zipfile.ZIP_DEFLATED, 2**21))
    with pytest.raises(DataError, match="another method"):
        open_files(bomb(zipfile.ZIP_LZMA, 10))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 1000)
    with pytest.raises(DataError, match="has 1,001 bytes, more than 1,000"):
        open_files(bomb(zipfile.ZIP_STORED, 1001))
    monkeypatch.setattr(files, "MAX_DIRECTORY_BYTES", 52)
    with pytest.raises(DataError, match="table of contents has 53 bytes, more than 52"):
        open_files(bomb(zipfile.ZIP_STORED, 1))
    monkeypatch.setattr(listing, "MAX_FILES", 0)
    with pytest.raises(DataError, match="more than 0 files"):
        open_files(tmp_path).listing()


def test_a_zip_that_lies_about_a_size_unpacks_no_more_than_it_says(tmp_path):
    path = tmp_path / "liar.zip"
    size, claim = (struct.pack("<I", n) for n in (2**24 + 12_345, 2**19))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/a.png", bytes(2**24 + 12_345))
    raw = path.read_bytes()
    assert raw.count(size) == 2  # the local and the central header
    path.write_bytes(raw.replace(size, claim))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"liar.zip/a/a.png: cannot be decoded \(Bad CRC"):
        one(path, "a/a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_an_encrypted_zip_is_refused(tree, tmp_path):
    path = zipped(tree, tmp_path / "secret.zip")
    raw = bytearray(path.read_bytes())
    first = raw.index(b"PK\x01\x02")
    raw[first + 8] |= 1  # the flag of encryption in the central directory
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="is encrypted"):
        open_files(path)


def save(folder, image, name="a.png", **options):
    folder.mkdir(exist_ok=True)
    image.save(folder / name, **options)
    return folder


def test_grey_of_8_bits_1_bit_and_16_bits(tmp_path):
    values = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    deep = values.astype(np.uint16) * 256 + 7
    for name, image, expected in (
        ("8.png", Image.fromarray(values), values),
        ("16.png", Image.fromarray(deep), values),
        ("16.tif", Image.fromarray(deep), values),
        ("big.tif", Image.fromarray(deep.astype(">u2")), values),
        ("1.png", Image.fromarray(values > 100), np.where(values > 100, 255, 0)),
        ("la.png", Image.merge("LA", [Image.fromarray(values)] * 2), values),
    ):
        save(tmp_path / "in", image, name)
        grey = one(tmp_path / "in", name, channels=1)
        assert grey.shape == (1, 8, 8), name
        assert np.array_equal(grey[0].numpy(), expected), name
        assert torch.equal(one(tmp_path / "in", name), grey.expand(3, 8, 8)), name
        found = survey(open_files(tmp_path / "in"), [name])
        assert (found.channels, found.sizes) == (1, [(8, 8)]), name


@pytest.mark.filterwarnings("error")
def test_colours_with_transparency_and_palettes(tmp_path):
    colour = picture(0).quantize(16)
    expected = torch.from_numpy(np.array(colour.convert("RGB"))).permute(2, 0, 1)
    see_through = colour.convert("RGBA")
    see_through.putalpha(100)
    for name, image, options in (
        ("p.png", colour, {}),
        ("clear.png", colour, {"transparency": bytes(16)}),
        ("p.gif", colour, {}),
        ("rgba.png", see_through, {}),
        ("rgba.webp", see_through, {"lossless": True, "exact": True}),
    ):
        save(tmp_path / "in", image, name, **options)
        assert torch.equal(one(tmp_path / "in", name), expected), name
        assert survey(open_files(tmp_path / "in"), [name]).channels == 3, name


def test_32_bit_pixels_have_no_known_range(tmp_path):
    save(tmp_path / "in", Image.fromarray(np.ones((8, 8), np.float32)), "f.tif")
    with pytest.raises(DataError, match=r"f.tif: cannot be decoded \(pixels of 32 bits"):
        one(tmp_path / "in", "f.tif")


def test_images_are_turned_upright(tmp_path):
    image = picture(0)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    save(tmp_path / "in", image, exif=exif)
    expected = np.rot90(np.asarray(image), -1).transpose(2, 0, 1)
    assert np.array_equal(one(tmp_path / "in").numpy(), expected)


def test_the_shorter_side_is_scaled_and_the_middle_cut_out(tmp_path):
    noise = picture(0, (90, 60), "L")
    resize = v2.Compose([v2.Resize(20), v2.CenterCrop(20)])
    for image in (noise, noise.transpose(Image.Transpose.ROTATE_90)):
        save(tmp_path / "in", image)
        expected = torch.from_numpy(np.array(resize(image))).int()
        ours = one(tmp_path / "in", side=20, channels=1)[0].int()
        assert (ours - expected).abs().max() <= 1


def test_own_size_and_colour_are_found(tmp_path):
    plain = write_tree(tmp_path / "plain", {"a": 2, "b": 2}, size=(12, 12), mode="L")
    assert class_source(open_files(plain)).images.shape == (2, 1, 12, 12)
    assert class_source(open_files(plain), side=9).images.shape == (2, 1, 9, 9)
    picture(5, (12, 12)).save(plain / "a" / "001.png")
    assert class_source(open_files(plain)).images.shape == (2, 3, 12, 12)
    picture(5, (12, 11)).save(plain / "a" / "001.png")
    assert class_source(open_files(plain)).images.shape == (2, 3, 64, 64)
    large = write_tree(tmp_path / "large", {"a": 2, "b": 2}, size=(513, 513), mode="L")
    assert class_source(open_files(large)).images.shape == (2, 1, 64, 64)


def test_broken_images_are_named(tmp_path):
    buffer = io.BytesIO()
    picture(0, (64, 64)).save(buffer, "JPEG")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (folder / "text.png").write_text("this is no image")
    picture(0).save(folder / "disguised.png", "PCX")
    for name in ("cut.jpg", "text.png", "disguised.png", "missing.png"):
        with pytest.raises(DataError, match=f"{name}: cannot be decoded .*Replace the file"):
            one(folder, name)
    with pytest.raises(DataError, match=r"missing.png: listed, but missing"):
        ImageFiles(open_files(folder), ["text.png", "missing.png"], 8, 3).content()


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    save(tmp_path / "in", picture(0, (20, 10)))
    monkeypatch.setattr(decode, "MAX_PIXELS", 199)
    with pytest.raises(DataError, match=r"a.png: cannot be decoded .20 × 10 pixels, above 199"):
        one(tmp_path / "in")


def test_image_files_are_indexed_as_a_tensor_is(tree):
    lazy = class_source(open_files(tree)).images
    decoded = lazy[:]
    assert decoded.dtype == torch.uint8
    assert decoded.shape == lazy.shape == (len(lazy), 3, 8, 8)
    for index in (
        torch.tensor([7, 0, 0, 3]),
        torch.tensor([-1]),
        torch.arange(8) % 2 == 0,
        torch.tensor([], dtype=torch.long),
        slice(2, 5),
        4,
    ):
        assert torch.equal(lazy[index], decoded[index])
    assert torch.equal(lazy.take(torch.tensor([5, 1]))[:], decoded[[5, 1]])
    with pytest.raises(IndexError):
        lazy[torch.tensor([8])]


def test_content_is_of_names_sizes_and_shape(tree, tmp_path):
    source = open_files(tree)
    names = class_source(source).images.names
    content = ImageFiles(source, names, 8, 3).content()
    zip_source = open_files(zipped(tree, tmp_path / "tree.zip"))
    assert ImageFiles(zip_source, names, 8, 3).content() == content
    assert ImageFiles(source, names, 9, 3).content() != content
    assert ImageFiles(source, names[::-1], 8, 3).content() != content
    with (tree / names[0]).open("ab") as stream:
        stream.write(b"x")
    assert ImageFiles(source, names, 8, 3).content() != content


def test_progress_is_told(tree, monkeypatch, outputs):
    monkeypatch.setattr(contents, "SECONDS_BETWEEN_REPORTS", 0)
    lines = []
    source = class_source(open_files(tree), report=lines.append)
    assert lines[-1] == "tree: 12 of 12 images looked at"
    source.images.decode(range(8), lines.append)
    assert lines[-1] == "tree: 8 of 8 images decoded"
    source.images.content(lines.append)
    assert lines[-1] == "tree: 8 of 8 files read for their hashes"


def test_statistics_are_those_of_the_floats(tree):
    decoded = class_source(open_files(tree)).images[:]
    mean, std = _statistics(decoded)
    values = decoded.double() / 255
    torch.testing.assert_close(torch.tensor(mean).double(), values.mean((0, 2, 3)))
    torch.testing.assert_close(
        torch.tensor(std).double(), values.std((0, 2, 3), correction=0), rtol=1e-6, atol=0
    )
    assert _statistics(torch.full((2, 1, 3, 3), 255, dtype=torch.uint8))[1] == (1 / 255,)
    lazy = class_source(open_files(tree)).images
    assert lazy.statistics[0] == (0.485, 0.456, 0.406)


def test_lists(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a/b c.jpg 0\nd.jpg 12\n")
    assert read_list(path) == (["a/b c.jpg", "d.jpg"], [0, 12])
    for line in ("a.jpg", "a.jpg -1", "a.jpg x", "a.jpg 1.5", " 3", "", "/a.jpg 1", "../a.jpg 1"):
        path.write_text(f"a.jpg 0\n{line}\nb.jpg 1\n")
        with pytest.raises(DataError, match=r"list.txt, line 2: .*not `relative/path label`"):
            read_list(path)
    path.write_text("")
    with pytest.raises(DataError, match="an empty list"):
        read_list(path)
    with pytest.raises(DataError, match=r"nowhere.txt: cannot be read"):
        read_list(tmp_path / "nowhere.txt")
