//! Photos: what is read compared with exiftool, damaged and hostile files, and what becomes of photos between runs.

use crate::it::bad_input::{peak_of, rubbish};
use crate::it::crash::killed_at_random_moments;
use crate::it::interrupted::Scene;
use crate::it::lab::{self, Lab, adds_up, count, program, rerun_is_quiet};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// All photos below `pictures`, as a pipeline.
const PICTURES: &str =
    "[[pipeline]]\nname = \"pictures\"\nsource = { kind = \"photos\", roots = [\"pictures\"] }\n";

/// exiftool's sample photos of the formats that are read; what lies beside them is left out.
fn samples() -> Vec<PathBuf> {
    let read = [
        "avif", "cr2", "cr3", "dng", "heic", "iiq", "jpg", "mkv", "mov", "nef", "png", "raf", "rw2", "tif",
        "webp",
    ];
    let entries = fs::read_dir(fixtures::corpus::photos()).unwrap();
    let mut samples: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    samples.retain(|path| {
        path.extension()
            .is_some_and(|of| read.iter().any(|read| of == *read))
    });
    samples.sort();
    samples
}

/// One of exiftool's samples.
pub fn sample(name: &str) -> Vec<u8> {
    fs::read(fixtures::corpus::photos().join(name)).unwrap()
}

/// Makes photos with the quirks of many cameras.
fn make(lab: &Lab, folder: &str, photos: usize) {
    let made = fixtures::corpus::oracle("make_photos.py")
        .arg(lab.path(folder))
        .arg(photos.to_string())
        .arg(fixtures::corpus::photos())
        .status();
    assert!(made.unwrap().success());
}

/// Runs exiftool in the folder of the pictures.
fn exiftool(lab: &Lab, arguments: &[&str]) {
    let mut exiftool = program("exiftool");
    exiftool.args(["-q", "-q", "-overwrite_original"]).args(arguments);
    let status = exiftool.current_dir(lab.path("pictures")).status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

/// Asserts that a lake holds what a first run over the same files makes.
fn equals_a_first_run(lab: &Lab, name: &str) {
    let fresh = lab.with_data(name);
    fresh.run();
    let facts = lab::duckdb(&[(lab, None), (&fresh, None)]);
    for table in ["photos", "photo_thumbnails", "raw", "locations"] {
        for fact in ["rows", "keys", "content"] {
            assert_eq!(
                facts[0][table][fact], facts[1][table][fact],
                "{name}: {fact} of {table}"
            );
        }
    }
}

#[test]
fn what_photos_say_is_what_exiftool_reads() {
    let lab = Lab::new(PICTURES);
    for sample in samples() {
        let name = sample.file_name().unwrap().to_str().unwrap();
        lab.write(format!("pictures/samples/{name}"), fs::read(&sample).unwrap());
    }
    make(&lab, "pictures/made", 600);
    lab.run();
    for table in ["photos", "rejects"] {
        let query = format!("SELECT * FROM {table}");
        lab.output(&[
            "export",
            "--force",
            "--query",
            &query,
            "--to",
            &format!("{table}.ndjson"),
        ]);
    }
    let mut oracle = fixtures::corpus::oracle("photo_oracle.py");
    oracle.args([lab.path("photos.ndjson"), lab.path("rejects.ndjson")]);
    let found = lab::values(oracle).remove(0);
    eprintln!("{found:#}");
    assert_eq!(
        found["differences"],
        Value::Array(Vec::new()),
        "{:#}",
        found["differences"]
    );
    assert!(found["photos"].as_u64() > Some(640), "{}", found["photos"]);
    assert!(found["cameras"].as_u64() > Some(40), "{}", found["cameras"]);
    assert!(
        found["derived offsets"].as_u64() > Some(5),
        "{}",
        found["derived offsets"]
    );
    for (field, counts) in found["values"].as_object().unwrap() {
        let (equal, all) = (counts[0].as_f64().unwrap(), counts[1].as_f64().unwrap());
        assert!(all > 20.0 && equal / all >= 0.99, "{field}: {equal} of {all}");
    }
    // In UTC too, it is the tag with the zone and not the header.
    let film = "SELECT taken_source, taken_offset_min FROM photos WHERE path LIKE '%/odd-film.mov'";
    let film = lab.sql(film).remove(0);
    assert_eq!(film["taken_source"], "QuickTime CreationDate");
    assert_eq!(film["taken_offset_min"], 0);
    rerun_is_quiet(&lab);
    lab.is_whole();
}

/// Headers that claim 200,000 × 200,000 pixels.
fn write_huge(lab: &Lab) {
    let script = "import struct, sys, zlib\n\
        folder, side = sys.argv[1], 200_000\n\
        def chunk(kind, body): return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))\n\
        header = chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0))\n\
        open(f'{folder}/huge.png', 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n' + header + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b''))\n\
        tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, 10)]\n\
        entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)\n\
        open(f'{folder}/huge.tif', 'wb').write(b'II*\\0\\x08\\0\\0\\0' + struct.pack('<H', len(tags)) + entries + bytes(4))\n\
        size = (side - 1).to_bytes(3, 'little')\n\
        body = b'WEBPVP8X' + struct.pack('<I', 10) + bytes(4) + size + size + b'VP8 ' + struct.pack('<I', 4) + bytes(4)\n\
        open(f'{folder}/huge.webp', 'wb').write(b'RIFF' + struct.pack('<I', len(body)) + body)";
    let made = program("python3")
        .args(["-c", script])
        .arg(lab.path("pictures"))
        .status();
    assert!(made.unwrap().success());
}

/// Copies of a file that end early, and that have a wrong byte somewhere.
fn damaged(lab: &Lab, name: &str, bytes: &[u8], copies: usize) {
    let (stem, extension) = name.rsplit_once('.').unwrap();
    let head = bytes.len().min(8_000);
    for n in 0..copies {
        let cut = &bytes[..1 + n * (bytes.len() - 1) / copies];
        lab.write(format!("pictures/cut/{stem}-{n}.{extension}"), cut);
        let mut flipped = bytes.to_vec();
        // Most are where the structure is.
        let within = if n % 4 == 0 { bytes.len() } else { head };
        let place = 4 + n * (within - 4) / copies;
        flipped[place] ^= 1 << (n % 8);
        flipped[(place * 7 + 5) % within] = 0xff;
        lab.write(format!("pictures/flipped/{stem}-{n}.{extension}"), flipped);
    }
}

#[test]
fn damaged_and_hostile_files_are_rows_or_rejects_and_the_run_ends() {
    let lab = Lab::new(PICTURES);
    make(&lab, "pictures/good", 60);
    let made: Vec<PathBuf> = fs::read_dir(lab.path("pictures/good"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let of = |extension: &str| {
        let found = made
            .iter()
            .find(|path| path.extension().is_some_and(|of| of == extension));
        fs::read(found.unwrap_or_else(|| panic!("no {extension} was made"))).unwrap()
    };
    for (name, copies) in [
        ("Canon.jpg", 60),
        ("ExifTool.jpg", 60),
        ("CanonRaw.cr2", 30),
        ("CanonRaw.cr3", 30),
    ] {
        damaged(&lab, name, &sample(name), copies);
    }
    for name in [
        "Nikon.nef",
        "FujiFilm.raf",
        "Panasonic.rw2",
        "DNG.dng",
        "QuickTime.mov",
        "RIFF.webp",
    ] {
        damaged(&lab, name, &sample(name), 30);
    }
    for extension in ["jpg", "heic", "avif", "png", "webp", "tif"] {
        damaged(&lab, &format!("made.{extension}"), &of(extension), 60);
    }
    write_huge(&lab);
    let pictures = lab.path("pictures");
    lab.write("pictures/empty.jpg", "");
    lab.write("pictures/one-byte.heic", "x");
    for (n, extension) in ["jpg", "png", "cr2", "mov", "heic", "mkv", "tif"]
        .iter()
        .enumerate()
    {
        lab.write(format!("pictures/rubbish.{extension}"), rubbish(n as u64, 50_000));
    }
    lab.write("pictures/really-a-jpeg.png", sample("Canon.jpg"));
    lab.write("pictures/really-a-text.jpg", "Dear diary,\n");
    fs::create_dir(pictures.join("folder.jpg")).unwrap();
    for (target, name) in [
        ("..", "good/up"),
        (".", "loop"),
        ("nowhere", "dangling.jpg"),
        ("itself.jpg", "itself.jpg"),
        ("/dev/zero", "endless.jpg"),
        // Its metadata is that of a file, and nobody can read it.
        ("/proc/self/mem", "unreadable.jpg"),
    ] {
        symlink(target, pictures.join(name)).unwrap();
    }
    program("mkfifo").arg(pictures.join("fifo.jpg")).status().unwrap();

    let (run, peak) = peak_of(&lab);
    assert!(peak < 500, "{peak} MiB");
    adds_up(&run);
    let rejects = lab.sql("SELECT item, reason FROM rejects");
    assert_eq!(rejects.len() as u64, count(&run, "items_rejected"));
    let reason = |name: &str| {
        let is_named = |row: &&Value| row["item"].as_str().unwrap().ends_with(name);
        let found = rejects.iter().find(is_named);
        found.unwrap_or_else(|| panic!("{name}: {rejects:#?}"))["reason"]
            .as_str()
            .unwrap()
    };
    for (name, why) in [
        ("huge.png", "200000 × 200000"),
        ("huge.tif", "200000 × 200000"),
        ("huge.webp", "damaged"),
        ("empty.jpg", "empty file"),
        ("one-byte.heic", "neither a photo nor a video"),
        ("really-a-text.jpg", "neither a photo nor a video"),
        ("dangling.jpg", "No such file"),
        ("itself.jpg", "symbolic links"),
        ("endless.jpg", "not a regular file"),
        ("fifo.jpg", "not a regular file"),
        ("unreadable.jpg", "cannot be read"),
    ] {
        assert!(reason(name).contains(why), "{name}: {}", reason(name));
    }
    let jpeg = "SELECT media_type FROM photos WHERE path LIKE '%/really-a-jpeg.png'";
    assert_eq!(lab.value(jpeg), "image/jpeg");
    let good = lab.number("SELECT count(*) FROM locations WHERE folder LIKE '%/good'");
    let there = made
        .iter()
        .filter(|path| path.extension().is_some_and(|of| of != "xmp"))
        .count();
    assert_eq!(
        good,
        there as i64,
        "{:#?}",
        rejects
            .iter()
            .filter(|row| row["item"].as_str().unwrap().contains("/good/"))
            .collect::<Vec<_>>()
    );
    lab.is_whole();
    let again = lab.run();
    assert_eq!(
        (count(&again, "items_stored"), count(&again, "items_rejected")),
        (0, rejects.len() as u64),
        "{again:#}"
    );
}

/// Paths of the photos, from the pictures' folder, in their order.
fn paths(lab: &Lab) -> Vec<String> {
    let root = lab.path("pictures");
    let rows = lab.sql("SELECT path FROM photos ORDER BY path");
    let within = |row: &Value| {
        Path::new(row["path"].as_str().unwrap())
            .strip_prefix(&root)
            .unwrap()
            .display()
            .to_string()
    };
    rows.iter().map(within).collect()
}

#[test]
fn later_runs_follow_touched_edited_renamed_copied_and_deleted_photos() {
    let lab = Lab::new(PICTURES);
    for name in [
        "Canon.jpg",
        "Nikon.jpg",
        "Sony.jpg",
        "GPS.jpg",
        "CanonRaw.cr2",
        "QuickTime.mov",
    ] {
        lab.write(format!("pictures/{name}"), sample(name));
    }
    lab.write("pictures/broken.jpg", "none");
    assert_eq!(count(&lab.run(), "items_stored"), 6);
    rerun_is_quiet(&lab);

    // Touched: the same photo, and its row stays.
    let canon = lab.value("SELECT _item FROM photos WHERE path LIKE '%/Canon.jpg'");
    lab.write("pictures/Canon.jpg", sample("Canon.jpg"));
    let run = lab.run();
    assert_eq!(count(&run, "items_vanished"), 0, "{run:#}");
    assert_eq!(
        lab.value("SELECT _item FROM photos WHERE path LIKE '%/Canon.jpg'"),
        canon
    );
    rerun_is_quiet(&lab);
    equals_a_first_run(&lab, "touched");

    // Edited: another photo at its place.
    exiftool(&lab, &["-EXIF:Make=Edited", "Nikon.jpg"]);
    let run = lab.run();
    assert_eq!(
        (count(&run, "items_stored"), count(&run, "items_vanished")),
        (1, 1),
        "{run:#}"
    );
    assert_eq!(
        lab.value("SELECT camera_make FROM photos WHERE path LIKE '%/Nikon.jpg'"),
        "Edited"
    );

    // Renamed and moved, deleted, mended.
    fs::create_dir(lab.path("pictures/trip")).unwrap();
    fs::rename(
        lab.path("pictures/Canon.jpg"),
        lab.path("pictures/trip/renamed.jpg"),
    )
    .unwrap();
    fs::remove_file(lab.path("pictures/Sony.jpg")).unwrap();
    lab.write("pictures/broken.jpg", sample("Pentax.jpg"));
    let run = lab.run();
    assert_eq!(count(&run, "items_vanished"), 1, "{run:#}");
    assert_eq!(
        paths(&lab),
        [
            "CanonRaw.cr2",
            "GPS.jpg",
            "Nikon.jpg",
            "QuickTime.mov",
            "broken.jpg",
            "trip/renamed.jpg"
        ]
    );
    assert_eq!(
        lab.value("SELECT album FROM photos WHERE path LIKE '%/renamed.jpg'"),
        "trip"
    );
    assert_eq!(lab.number("SELECT count(*) FROM rejects"), 0);
    equals_a_first_run(&lab, "moved");

    // Copied: one photo at two places, told by the first of them, whichever is there.
    lab.write("pictures/a copy.jpg", sample("Canon.jpg"));
    lab.run();
    assert_eq!(paths(&lab)[3..], ["QuickTime.mov", "a copy.jpg", "broken.jpg"]);
    let places = format!(
        "SELECT count(*) FROM locations WHERE _item = '{}'",
        canon.as_str().unwrap()
    );
    assert_eq!(lab.number(&places), 2);
    equals_a_first_run(&lab, "copied");
    fs::remove_file(lab.path("pictures/a copy.jpg")).unwrap();
    let run = lab.run();
    assert_eq!(count(&run, "items_vanished"), 0, "{run:#}");
    assert_eq!(lab.number(&places), 1);
    assert_eq!(paths(&lab).last().unwrap(), "trip/renamed.jpg");
    rerun_is_quiet(&lab);
    lab.is_whole();
    equals_a_first_run(&lab, "deleted");
}

#[test]
fn sidecars_that_come_change_and_go_are_followed() {
    let lab = Lab::new(PICTURES);
    for name in ["Canon.jpg", "Nikon.jpg"] {
        lab.write(format!("pictures/{name}"), sample(name));
    }
    lab.run();
    let row = |name: &str| {
        lab.sql(&format!("SELECT * FROM photos WHERE path LIKE '%/{name}'"))
            .remove(0)
    };
    assert_eq!(
        (&row("Canon.jpg")["rating"], &row("Nikon.jpg")["latitude"]),
        (&Value::Null, &Value::Null)
    );
    let taken = row("Nikon.jpg")["taken_at"].clone();

    exiftool(
        &lab,
        &["-XMP-xmp:Rating=4", "-XMP-dc:Subject=harbour", "-o", "Canon.xmp"],
    );
    lab.write(
        "pictures/Nikon.jpg.supplemental-metadata.json",
        r#"{"title": "Nikon.jpg", "photoTakenTime": {"timestamp": "981173106"}, "people": [{"name": "Ada"}],
            "geoData": {"latitude": -33.5, "longitude": 151.25, "altitude": 3.0}}"#,
    );
    let run = lab.run();
    assert_eq!(count(&run, "items_vanished"), 0, "{run:#}");
    let canon = row("Canon.jpg");
    assert_eq!(
        (&canon["rating"], &canon["tags"][0]),
        (&Value::from(4), &Value::from("harbour"))
    );
    let nikon = row("Nikon.jpg");
    assert_eq!(nikon["taken_at"], taken, "the camera's own time comes first");
    assert_eq!(
        (&nikon["latitude"], &nikon["altitude_m"]),
        (&Value::from(-33.5), &Value::from(3.0))
    );
    assert_eq!(
        (&nikon["location_source"], &nikon["people"][0]),
        (&Value::from("Takeout geoData"), &Value::from("Ada"))
    );
    rerun_is_quiet(&lab);
    equals_a_first_run(&lab, "came");

    exiftool(&lab, &["-XMP-xmp:Rating=5", "Canon.xmp"]);
    lab.write("pictures/Nikon.jpg.supplemental-metadata.json", "{");
    lab.run();
    assert_eq!(row("Canon.jpg")["rating"], 5);
    let problem = row("Nikon.jpg")["problem"].clone();
    assert!(
        problem
            .as_str()
            .unwrap()
            .contains("supplemental-metadata.json` beside it"),
        "{problem}"
    );
    equals_a_first_run(&lab, "changed");

    fs::remove_file(lab.path("pictures/Canon.xmp")).unwrap();
    fs::remove_file(lab.path("pictures/Nikon.jpg.supplemental-metadata.json")).unwrap();
    lab.run();
    assert_eq!(
        (&row("Canon.jpg")["rating"], &row("Nikon.jpg")["problem"]),
        (&Value::Null, &Value::Null)
    );
    equals_a_first_run(&lab, "gone");
}

#[test]
fn pictures_that_look_alike_have_hashes_that_are_alike() {
    let lab = Lab::new(PICTURES);
    let script = "import random, sys\nfrom PIL import Image\n\
        folder = sys.argv[1]\nchoose = random.Random(5)\n\
        blocks = Image.new('RGB', (12, 9))\nblocks.putdata([tuple(choose.randrange(256) for _ in range(3)) for _ in range(108)])\n\
        whole = blocks.resize((1200, 900), Image.Resampling.BICUBIC)\n\
        whole.save(f'{folder}/whole.jpg', quality=92)\nwhole.resize((640, 480)).save(f'{folder}/small.jpg', quality=60)\n\
        whole.save(f'{folder}/whole.png')\nexif = Image.Exif()\nexif[0x112] = 6\n\
        whole.rotate(90, expand=True).save(f'{folder}/turned.jpg', exif=exif)\n\
        whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(f'{folder}/other.jpg')";
    fs::create_dir(lab.path("pictures")).unwrap();
    let mut python = fixtures::corpus::python();
    assert!(
        python
            .args(["-c", script])
            .arg(lab.path("pictures"))
            .status()
            .unwrap()
            .success()
    );
    lab.run();
    let far = |one: &str, other: &str| {
        lab.number(&format!(
            "SELECT bit_distance(a.perceptual_hash, b.perceptual_hash) FROM photos a, photos b
             WHERE a.path LIKE '%/{one}' AND b.path LIKE '%/{other}'"
        ))
    };
    for other in ["small.jpg", "whole.png", "turned.jpg"] {
        assert!(
            far("whole.jpg", other) <= 4,
            "{other}: {}",
            far("whole.jpg", other)
        );
    }
    assert!(far("whole.jpg", "other.jpg") > 12);
    assert_eq!(lab.number("SELECT bit_distance(-1, 0)"), 64);
    assert_eq!(lab.value("SELECT bit_distance(1, NULL)"), Value::Null);
    let sizes = "SELECT count(*) FROM photo_thumbnails WHERE width = 320 AND height = 240";
    assert_eq!(lab.number(sizes), 5, "all are turned for display");
}

/// Photos of some batches.
fn many(lab: &Lab) {
    make(lab, "pictures/made", 250);
    let made = fs::read_dir(lab.path("pictures/made")).unwrap();
    let jpegs: Vec<PathBuf> = made
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|of| of == "jpg"))
        .collect();
    for n in 0..10 {
        for (number, path) in jpegs.iter().enumerate() {
            // What follows a picture's end is not read, and makes another file of it.
            let bytes = [fs::read(path).unwrap(), vec![n]].concat();
            lab.write(format!("pictures/more/{n}/{number}.jpg"), bytes);
        }
    }
}

#[test]
fn a_kill_at_any_moment_of_following_photos_loses_nothing() {
    let lab = Lab::new(PICTURES);
    many(&lab);
    lab.run();
    for n in 0..10 {
        let at = |name: &str| lab.path(format!("pictures/more/{n}/{name}"));
        fs::rename(at("1.jpg"), at("renamed.jpg")).unwrap();
        fs::copy(at("2.jpg"), at("0 copy.jpg")).unwrap();
        fs::remove_file(at("3.jpg")).unwrap();
        fs::write(at("4.jpg"), sample("Canon.jpg")).unwrap();
        fs::write(at("5.jpg"), "damaged").unwrap();
        fs::write(at("6.jpg.json"), r#"{"description": "came later"}"#).unwrap();
    }
    fs::rename(lab.path("pictures/more/9"), lab.path("pictures/more/0 first")).unwrap();
    let mut scene = Scene::of(lab, &["run"]);
    scene.originals_changed = true;
    killed_at_random_moments(&scene);
}
