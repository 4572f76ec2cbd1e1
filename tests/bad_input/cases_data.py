"""Data: folders of images, tables, known data sets, landmarks, unlabelled images."""

from __future__ import annotations

from tests.bad_input.seen import Case
from tests.bad_input.world import (
    TRAIN,
    arrays,
    bomb,
    both,
    copied,
    cut,
    data,
    folder,
    gone,
    images,
    linked,
    located,
    malicious,
    parquet,
    picture,
    renamed,
    table,
    text,
)

CHECK = "data check --dataset faces"
CSV = "data check --dataset faces.csv"
NAMED = "train/anger/0.png"
IMAGE = f"faces/{NAMED}"

FOLDERS = (
    Case("the folder is not there", "run … --dataset /no/such/folder", ("/no/such/folder", "Known names")),
    Case("an unknown name", "run … --dataset synthetc", ("'synthetc'", "did you mean synthetic")),
    Case(
        "a file that is no table",
        "run … --dataset notes.md",
        ("notes.md", "a data set is a folder or a"),
        make=text("notes.md", "x"),
    ),
    Case(
        "an empty folder", "run … --dataset empty", ("empty: no image in it", "Expected layout"), make=folder("empty")
    ),
    Case(
        "no test split beside train",
        "run …",
        ("faces: there is train/, but no test/", "Expected layout"),
        make=gone("faces/test"),
    ),
    Case(
        "a test split without an image",
        CHECK,
        ("test: no images",),
        0,
        make=both(gone("faces/test"), folder("faces/test/anger")),
    ),
    Case(
        "the same, in training",
        "run …",
        ("faces has no images in its test split",),
        make=both(gone("faces/test"), folder("faces/test/anger")),
    ),
    Case(
        "two folders for one split",
        CHECK,
        ("two folders for one split", "train, training"),
        make=folder("faces/training"),
    ),
    Case(
        "a class that only the test split has",
        "run …",
        ("no training image of neutral",),
        make=gone("faces/train/neutral"),
    ),
    Case(
        "one class only",
        "run …",
        ("faces has one class only, anger",),
        make=both(*(gone(f"faces/{s}/{c}") for s in ("train", "test") for c in ("neutral", "happiness"))),
    ),
    Case(
        "one training image in a class",
        CHECK,
        ("neutral", "1"),
        0,
        make=both(*(gone(f"faces/train/neutral/{n}.png") for n in range(1, TRAIN))),
    ),
    Case(
        "the same, in training",
        "run … --dry-run",
        ("1 run: 0 done, 1 to train",),
        0,
        make=both(*(gone(f"faces/train/neutral/{n}.png") for n in range(1, TRAIN))),
    ),
    Case(
        "two spellings of one class (`anger`, `Angry`)",
        CHECK,
        ("anger 9 3",),
        0,
        make=both(folder("faces/train/Angry"), copied(IMAGE, "faces/train/Angry/a.png")),
    ),
    Case(
        "a name with spaces and other alphabets",
        CHECK,
        ("nothing to complain about",),
        0,
        make=renamed(IMAGE, "faces/train/anger/été  顔 .png"),
    ),
    Case(
        "a name with a line break",
        CHECK,
        ("nothing to complain about",),
        0,
        make=renamed(IMAGE, "faces/train/anger/a\nb.png"),
    ),
    Case(
        "a name with terminal codes, damaged",
        CHECK,
        ("31mred.png: cannot be decoded",),
        1,
        make=data("faces/train/anger/\x1b[31mred.png", b"no image"),
        foreign=r"\(.*\)",
    ),
    Case(
        "a name that looks like markup, damaged",
        CHECK,
        ("[bold]a.png",),
        1,
        make=data("faces/train/anger/[bold]a.png", b"no image"),
    ),
    Case(
        "hidden copies (`._0.png`)",
        CHECK,
        ("nothing to complain about",),
        0,
        make=data("faces/train/anger/._0.png", b"no image"),
    ),
    Case(
        "files that are no images (`Thumbs.db`)",
        CHECK,
        ("nothing to complain about",),
        0,
        make=data("faces/train/anger/Thumbs.db", b"x"),
    ),
    Case(
        "a link to its own folder",
        CHECK,
        ("nothing to complain about",),
        0,
        make=linked("faces/train/anger/loop", "../anger"),
    ),
    Case(
        "an image that is a link to itself",
        CHECK,
        ("faces/train/anger/loop.png is a link that leads nowhere (loop.png)",),
        make=linked("faces/train/anger/loop.png", "loop.png"),
    ),
    Case(
        "an image that is a link to nothing",
        CHECK,
        ("faces/train/anger/lost.png is a link that leads nowhere (/no/such/image.png)",),
        make=linked("faces/train/anger/lost.png", "/no/such/image.png"),
    ),
    Case(
        "the same image in train and test",
        CHECK,
        ("exact copy in train: 1",),
        0,
        make=copied("faces/test/anger/0.png", "faces/train/anger/copy.png"),
    ),
    Case(
        "the same image with two labels",
        CHECK,
        ("different labels: 1",),
        0,
        make=copied(IMAGE, "faces/train/neutral/copy.png"),
    ),
)

IMAGES = (
    Case("0 bytes", "run …", (IMAGE, "the file is empty (0 bytes)"), make=cut(IMAGE, 0)),
    Case("looked at before", CHECK, (NAMED, "the file is empty (0 bytes)"), 1, make=cut(IMAGE, 0)),
    Case("cut off in the middle", "run …", (IMAGE, "cannot be decoded"), make=cut(IMAGE, 200), foreign=r"\(.*\)"),
    Case("no image at all", "run …", (IMAGE, "cannot be decoded"), make=text(IMAGE, "no image"), foreign=r"\(.*\)"),
    Case("a PNG called .jpg", CHECK, ("nothing to complain about",), 0, make=renamed(IMAGE, "faces/train/anger/0.jpg")),
    Case(
        "a header of 60,000 x 60,000 pixels in 100 bytes",
        CHECK,
        (NAMED, "its pixels are over the limit"),
        1,
        make=bomb(IMAGE, 60_000),
    ),
    Case("a header of 10,000 x 10,000 pixels", CHECK, (NAMED, "10000x10000 pixels"), 1, make=bomb(IMAGE, 10_000)),
    Case(
        "a header of 0 x 0 pixels", CHECK, (NAMED, "cannot be decoded"), 1, make=bomb(IMAGE, 0), foreign=r"\(\w+:.*?\)"
    ),
    Case("1 x 1 pixel", CHECK, (f"images of one colour: 1, such as {NAMED}",), 0, make=picture(IMAGE, size=(1, 1))),
    Case("1 x 5000 pixels", CHECK, ("nothing to complain about",), 0, make=picture(IMAGE, size=(1, 5000))),
    Case("transparent pixels", CHECK, ("nothing to complain about",), 0, make=picture(IMAGE, "RGBA")),
    Case(
        "four inks (CMYK)",
        CHECK,
        ("nothing to complain about",),
        0,
        make=both(gone(IMAGE), picture("faces/train/anger/0.jpg", "CMYK")),
    ),
    Case(
        "32 bits a pixel",
        CHECK,
        ("32-bit pixels have no known range",),
        1,
        make=both(gone(IMAGE), picture("faces/train/anger/0.tif", "F")),
    ),
)

FIRST = images()[0]
TABLES = (
    Case("no file", "run … --dataset faces.csv", ("no data set or path 'faces.csv'", "a .csv or .parquet table")),
    Case(
        "an empty file", CSV, ("faces.csv: cannot be read as a table",), make=text("faces.csv", ""), foreign=r"\(.*\)"
    ),
    Case("a header and no row", CSV, ("faces.csv: holds no rows",), make=text("faces.csv", "path,label,split\n")),
    Case(
        "a column is missing",
        CSV,
        ("no column 'label'", "did you mean 'lable'"),
        make=text("faces.csv", f"path,lable,split\n{FIRST},anger,train\n"),
    ),
    Case(
        "a column too many",
        CSV,
        ("nothing to complain about",),
        0,
        make=text(
            "faces.csv",
            "note,path,label,split\n"
            + "".join(f"x,{path},{path.split('/')[2]},{path.split('/')[1]}\n" for path in images()),
        ),
    ),
    Case(
        "two columns of one name",
        CSV,
        ("two columns are called 'label'",),
        make=text("faces.csv", f"path,label,split,label \n{FIRST},anger,train,fear\n"),
    ),
    Case(
        "a row with a cell too many",
        CSV,
        ("faces.csv: cannot be read as a table",),
        make=table("a,b,c,d,e"),
        foreign=r"\(.*\)",
    ),
    Case(
        "every row with a cell too many",
        CSV,
        ("faces.csv: cannot be read as a table",),
        foreign=r"\(.*\)",
        make=text("faces.csv", f"path,label,split\n{FIRST},anger,train,x\n{images()[-1]},anger,test,x\n"),
    ),
    Case("a byte-order mark", CSV, ("nothing to complain about",), 0, make=table(header="\ufeffpath,label,split\n")),
    Case("Windows line ends", CSV, ("nothing to complain about",), 0, make=table(header="path,label,split\r\n")),
    Case(
        "Windows paths",
        CSV,
        ("nothing to complain about",),
        0,
        make=both(copied(IMAGE, "faces/x.png"), picture("faces/x.png"), table("faces\\x.png,anger,train")),
    ),
    Case(
        "semicolons for commas",
        CSV,
        ("its columns are separated by semicolons", "nothing to complain about"),
        0,
        make=text(
            "faces.csv",
            "path;label;split\n" + "".join(f"{path};{path.split('/')[2]};{path.split('/')[1]}\n" for path in images()),
        ),
    ),
    Case("UTF-16", CSV, ("faces.csv: holds no rows",), make=data("faces.csv", "path,label,split\n".encode("utf-16"))),
    Case(
        "binary data",
        CSV,
        ("faces.csv: cannot be read as a table (it is no text)",),
        make=data("faces.csv", bytes(range(256)) * 4),
    ),
    Case(
        "an image that is not there",
        CSV,
        ("faces/no.png does not exist (1 of 34 listed images",),
        make=table("faces/no.png,anger,train"),
    ),
    Case("an empty path", CSV, ("faces.csv, row 34: the path is empty",), make=table(",anger,train")),
    Case("a path that is a folder", CSV, ("faces/train does not exist",), make=table("faces/train,anger,train")),
    Case(
        "an absolute path",
        CSV,
        ("row 34", "/etc/hostname", "leads out of", "--data-root"),
        make=table("/etc/hostname,anger,train"),
    ),
    Case(
        "a path with ..",
        CSV,
        ("row 34", "../other/0.png", "leads out of", "--data-root"),
        make=both(picture("../other/0.png", size=(5, 5)), table("../other/0.png,anger,train")),
    ),
    Case(
        "the same, allowed",
        f"{CSV} --data-root ../other",
        ("nothing to complain about",),
        0,
        make=both(picture("../other/0.png", size=(5, 5)), table("../other/0.png,anger,train")),
    ),
    Case(
        "a path that is too long",
        CSV,
        ("listed images are missing",),
        make=table(f"{'x' * 300}.png,anger,train"),
        foreign="x{99,}",
    ),
    Case(
        "an empty label",
        CSV,
        ("1 image (faces/x.png) without a label left out",),
        0,
        make=both(picture("faces/x.png"), table("faces/x.png,,train")),
    ),
    Case(
        "one label for all rows",
        "run … --dataset faces.csv",
        ("faces has one class only, anger",),
        make=text(
            "faces.csv", "path,label,split\n" + "".join(f"{path},anger,{path.split('/')[1]}\n" for path in images())
        ),
    ),
    Case(
        "an unknown split",
        CSV,
        ("row 34: unknown split 'dev'", "train, val, test"),
        make=both(picture("faces/x.png"), table("faces/x.png,anger,dev")),
    ),
    Case(
        "no row of the test split",
        CSV,
        ("no row has split 'test'",),
        make=text("faces.csv", f"path,label,split\n{FIRST},anger,train\n"),
    ),
    Case(
        "a row twice",
        CSV,
        ("1 row about an image that an earlier row names",),
        0,
        make=table(f"{FIRST},anger,train"),
    ),
    Case(
        "an image in train and in test",
        CSV,
        (f"row 34: '{FIRST}' appears more than once, in test and in train (row 1)",),
        make=table(f"{FIRST},anger,test"),
    ),
    Case(
        "a class called like markup",
        CSV,
        ("[red]<b>",),
        0,
        make=both(picture("faces/x.png"), table("faces/x.png,[red]<b>,test")),
    ),
    Case(
        "landmarks that are no list",
        CSV,
        ("row 1: landmarks are no JSON list",),
        make=text("faces.csv", f"path,label,split,landmarks\n{FIRST},anger,train,x\n{images()[-1]},anger,test,\n"),
        foreign=r"\(.*\)",
    ),
    Case(
        "landmarks in pixels",
        CSV,
        ("row 1: landmarks must be fractions", "not pixels"),
        make=text(
            "faces.csv", f'path,label,split,landmarks\n{FIRST},anger,train,"[[16, 16]]"\n{images()[-1]},anger,test,\n'
        ),
    ),
    Case(
        "landmarks that are not finite",
        CSV,
        ("row 1: landmarks must be finite",),
        make=text(
            "faces.csv", f'path,label,split,landmarks\n{FIRST},anger,train,"[[NaN, 0.5]]"\n{images()[-1]},anger,test,\n'
        ),
    ),
    Case(
        "different numbers of landmarks",
        CSV,
        ("same number of landmarks", "1 in row 1, 2 in row 2"),
        make=text(
            "faces.csv",
            f'path,label,split,landmarks\n{FIRST},anger,train,"[[0.5, 0.5]]"\n'
            f'{images()[-1]},anger,test,"[[0.5, 0.5], [0.1, 0.1]]"\n',
        ),
    ),
    Case(
        "a damaged Parquet file",
        "data check --dataset faces.parquet",
        ("faces.parquet: cannot be read as a table",),
        make=text("faces.parquet", "PAR1"),
        foreign=r"\(.*\)",
    ),
    Case(
        "Parquet without a column",
        "data check --dataset faces.parquet",
        ("no column 'label'", "--columns"),
        make=parquet("faces.parquet", path=[FIRST], split=["train"]),
    ),
    Case(
        "Parquet with an absent label",
        "data check --dataset faces.parquet",
        ("1 image (faces/train/anger/1.png) without a label left out", "test: no images"),
        0,
        make=parquet("faces.parquet", path=images()[:2], label=["anger", None], split=["train", "test"]),
    ),
    Case(
        "a column that is not there",
        f"{CSV} --columns path=image,label=label",
        ("--columns path=image: there is no such column", "found path, label, split"),
        make=table(),
    ),
    Case("columns without an equals sign", f"{CSV} --columns image", ("columns = 'image': ROLE=COLUMN",), make=table()),
    Case("an unknown role", f"{CSV} --columns lable=label", ("lable=…", "did you mean 'label'"), make=table()),
    Case("groups that match nothing", f"{CSV} --group-by zzz", ("--group-by zzz: no column",), make=table()),
    Case("groups by half an expression", f"{CSV} --group-by (", ("nor a regular expression",), make=table()),
    Case("columns of a known data set", "data check --columns path=x", ("synthetic is not a table of your own",)),
    Case(
        "both manifest.csv and manifest.parquet",
        CHECK,
        ("both manifest.csv and manifest.parquet", "name the one"),
        make=both(text("faces/manifest.csv", ""), text("faces/manifest.parquet", "")),
    ),
)

PIXELS = " ".join(["0"] * 48 * 48)
RAF = both(text("data/rafdb/list_patition_label.txt", "train_1.jpg 9\n"), folder("data/rafdb/Image/aligned"))
EXPW = both(picture("data/expw/image/origin/a.jpg"), picture("data/b.jpg"))
KNOWN = (
    Case("RAF-DB is not there", "run … --dataset rafdb --data-root nowhere", ("nowhere/rafdb", "Expected layout")),
    Case(
        "a list without its images",
        "data check --dataset rafdb",
        ("does not exist", "Expected layout"),
        make=both(RAF, text("data/rafdb/list_patition_label.txt", "train_1.jpg 5\n")),
    ),
    Case(
        "a label out of range",
        "data check --dataset rafdb",
        ("list_patition_label.txt, line 1", "label 1 to 7"),
        make=RAF,
    ),
    Case(
        "an empty list",
        "run … --dataset rafdb",
        ("rafdb has no images in its train split",),
        make=both(RAF, text("data/rafdb/list_patition_label.txt", "\n")),
    ),
    Case(
        "FER2013: labels out of range",
        "data check --dataset fer2013",
        ("emotion must hold 0 to 6",),
        make=text("data/fer2013/fer2013.csv", f"emotion,pixels,Usage\n7,{PIXELS},Training\n"),
    ),
    Case(
        "FER2013: too few pixels",
        "data check --dataset fer2013",
        ("data row 0: not 2304 pixels",),
        make=text("data/fer2013/fer2013.csv", "emotion,pixels,Usage\n3,0 1 2,Training\n"),
    ),
    Case(
        "FER2013: pixels that are no numbers",
        "data check --dataset fer2013",
        ("data row 0: pixels hold something",),
        make=text("data/fer2013/fer2013.csv", f"emotion,pixels,Usage\n3,{PIXELS[:-1]}x,Training\n"),
    ),
    Case(
        "FER2013: an unknown split",
        "data check --dataset fer2013",
        ("unknown Usage 'Dev'",),
        make=text("data/fer2013/fer2013.csv", f"emotion,pixels,Usage\n3,{PIXELS},Dev\n"),
    ),
    Case(
        "FER2013: one image in all",
        "run … --dataset fer2013",
        ("no images in its test split",),
        make=text("data/fer2013/fer2013.csv", f"emotion,pixels,Usage\n3,{PIXELS},Training\n"),
    ),
    Case(
        "FERPlus: votes for other faces",
        "data check --dataset ferplus",
        ("must list the same faces",),
        make=both(
            text("data/fer2013/fer2013.csv", f"emotion,pixels,Usage\n3,{PIXELS},Training\n"),
            text(
                "data/fer2013new.csv",
                "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n",
            ),
        ),
    ),
    Case(
        "ExpW: a line with a field too few",
        "data check --dataset expw",
        ("label.lst, line 1", "expected"),
        make=both(EXPW, text("data/expw/label.lst", "a.jpg 0 1 1 5 5 0.9\n")),
        foreign=r"(?<=line 1: ).*?(?=;)",
    ),
    Case(
        "ExpW: a face box outside the image",
        "data check --dataset expw",
        ("has no pixel of the 32x32 image",),
        1,
        make=both(EXPW, text("data/expw/label.lst", "a.jpg 0 50 50 90 90 0.9 3\n")),
    ),
    Case(
        "ExpW: an image that leads out of the folder",
        "data check --dataset expw",
        ("label.lst, line 1", "../../../b.jpg leads out of"),
        make=both(EXPW, text("data/expw/label.lst", "../../../b.jpg 0 1 1 5 5 0.9 3\n")),
    ),
    Case(
        "AffectNet: an absolute path",
        "data check --dataset affectnet7",
        ("training.csv", "/etc/hostname", "leads out of"),
        make=both(
            folder("data/affectnet/Manually_Annotated_Images"),
            text("data/affectnet/training.csv", "subDirectory_filePath,expression\n/etc/hostname,1\n"),
            text("data/affectnet/validation.csv", "subDirectory_filePath,expression\n"),
        ),
    ),
    Case(
        "AffectNet: an expression file that would run code",
        "data check --dataset affectnet8",
        ("0_exp.npy", "expression"),
        make=both(
            picture("data/affectnet/train_set/images/0.jpg"),
            folder("data/affectnet/train_set/annotations"),
            malicious("data/affectnet/train_set/annotations/0_exp.npy", "pickle"),
        ),
        foreign=r"\(.*\)",
    ),
    Case(
        "SFEW: a class folder is missing",
        "data check --dataset sfew",
        ("sfew/Train/Angry does not exist",),
        make=folder("data/sfew/Train"),
    ),
)

MARKS = "data landmarks found.npz --dataset faces --frame 32"
LANDMARKS = (
    Case("no file", MARKS, ("found.npz", "does not exist")),
    Case(
        "no .npz file",
        MARKS,
        ("found.npz: not an .npz file of arrays",),
        make=text("found.npz", "x"),
        foreign=r"\(.*\)",
    ),
    Case("an array is missing", MARKS, ("no array 'points'", "found ids"), make=arrays("found.npz", ids=["a"])),
    Case(
        "too few rows",
        MARKS,
        ("2 rows and no array 'ids'", "33 images"),
        make=arrays("found.npz", points=[[[1, 1]] * 19] * 2),
    ),
    Case("5 points a face", MARKS, ("5 points a face, but 19",), make=located(5)),
    Case(
        "ids of other images",
        MARKS,
        ("none of its 1 ids is an image of the data set",),
        make=arrays("found.npz", ids=["a"], points=[[[1, 1]] * 19]),
    ),
    Case(
        "an id twice",
        MARKS,
        ("1 ids appear more than once",),
        make=arrays("found.npz", ids=["a", "a"], points=[[[1, 1]] * 19] * 2),
    ),
    Case(
        "points far outside the image",
        MARKS,
        ("fractions of width and height", "found"),
        make=located(points=[[[900.0, 16.0]] * 19] * 33),
    ),
    Case("points that are text", MARKS, ("'points' must be numbers",), make=located(points=[["a"] * 19] * 33)),
    Case(
        "objects that would run code",
        MARKS,
        ("found.npz: not an .npz file of arrays",),
        make=malicious("found.npz", "numpy"),
        foreign=r"\(.*\)",
    ),
    Case("a frame of no size", MARKS + " --frame 0", ("--frame", "above 0"), make=located()),
    Case("a frame that is not finite", MARKS + " --frame nan", ("--frame", "above 0"), make=located()),
    Case(
        "drawn faces",
        "data landmarks found.npz --dataset synthetic",
        ("drawn faces have landmarks of their own",),
        make=located(),
    ),
    Case(
        "written before",
        MARKS,
        ("faces/landmarks.npz is there already",),
        make=both(located(), text("faces/landmarks.npz", "")),
    ),
    Case(
        "a damaged landmarks.npz beside the images",
        CHECK,
        ("faces/landmarks.npz: not an .npz file of arrays",),
        make=text("faces/landmarks.npz", "x"),
        foreign=r"\(.*\)",
    ),
    Case("a method that needs them, and none", "run … --methods lanet", ("lanet: needs 19 landmarks a face",), 1),
)

UNLABELLED = (
    Case("no such folder", "run … --methods face2exp --unlabelled absent", ("--unlabelled absent: no such folder",)),
    Case(
        "a folder without images",
        "run … --methods face2exp --unlabelled empty",
        ("--unlabelled empty: no image in it",),
        make=folder("empty"),
    ),
    Case(
        "a damaged image",
        "run … --methods face2exp --unlabelled other",
        ("other/x.png: cannot be decoded",),
        make=text("other/x.png", "x"),
        foreign=r"\(.*\)",
    ),
    Case("no method learns from them", "run … --unlabelled faces", ("none of ce learns from unlabelled images",)),
)
