"""The pipeline that a skilled Python user would write instead of dkc: a Maildir → Parquet.

- In: `python3 peer_pipeline.py MAILDIR OUT`. Out: `OUT/emails-*.parquet`, `OUT/attachments-*.parquet`, synced.
- Tuned: two parser processes that write their own files, no garbage collector, the compat32 policy (the others
  parse every header), big batches, tags of HTML cut out by a pattern.
- Less than dkc does: no originals, no digest of mails, no catalog, no rerun, threads only by the first reference,
  no repair of damaged mails.
"""

import gc
import hashlib
import multiprocessing
import os
import pathlib
import re
import sys
from email.header import decode_header, make_header
from email.parser import BytesParser
from email.policy import compat32
from email.utils import getaddresses, parsedate_to_datetime

import pyarrow as pa
import pyarrow.parquet as pq

PROCESSES = 2
ROWS = 4_096
TAGS = re.compile(r"<(?:style|script).*?</(?:style|script)>|<[^>]*>", re.S | re.I)
PARSER = BytesParser(policy=compat32)

TEXT, TEXTS = pa.string(), pa.list_(pa.string())
EMAILS = pa.schema([
    ("path", TEXT), ("message_id", TEXT), ("thread_id", TEXT), ("in_reply_to", TEXT), ("references", TEXTS),
    ("date", pa.timestamp("us", "UTC")), ("from", TEXTS), ("to", TEXTS), ("cc", TEXTS), ("subject", TEXT),
    ("body_text", TEXT), ("list_id", TEXT), ("size_bytes", pa.int64()), ("attachment_count", pa.int64()),
])
ATTACHMENTS = pa.schema([
    ("path", TEXT), ("name", TEXT), ("media_type", TEXT), ("size_bytes", pa.int64()), ("sha256", TEXT),
])


def clean(value):
    return value.encode("utf-8", "replace").decode()


def words(value):
    if value is None:
        return None
    value = str(value)
    if "=?" in value:
        try:
            value = str(make_header(decode_header(value)))
        except (LookupError, ValueError):
            pass
    return clean(value)


def addresses(message, name):
    return [words(f"{shown} <{address}>") for shown, address in getaddresses(map(str, message.get_all(name, ())))]


def date(value):
    try:
        return parsedate_to_datetime(str(value)).timestamp() * 1e6
    except (TypeError, ValueError, OverflowError):
        return None


def text_of(part):
    data = part.get_payload(decode=True) or b""
    try:
        return data.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def read(path, emails, attachments):
    raw = pathlib.Path(path).read_bytes()
    message = PARSER.parsebytes(raw)
    plain = html = None
    attached = 0
    for part in message.walk():
        if part.is_multipart():
            continue
        kind, name = part.get_content_type(), part.get_filename()
        if name is None and kind == "text/plain":
            plain = text_of(part) if plain is None else plain
        elif name is None and kind == "text/html":
            html = text_of(part) if html is None else html
        else:
            data = part.get_payload(decode=True) or b""
            attachments.append((path, words(name), kind, len(data), hashlib.sha256(data).hexdigest()))
            attached += 1
    body = plain if plain is not None else TAGS.sub("", html or "")
    references = words(message["references"] or "").split()
    message_id, parent = words(message["message-id"]), words(message["in-reply-to"])
    emails.append((
        path, message_id, references[0] if references else parent or message_id, parent, references,
        date(message["date"]), addresses(message, "from"), addresses(message, "to"), addresses(message, "cc"),
        words(message["subject"]), clean(body), words(message["list-id"]), len(raw), attached,
    ))


class Table:
    """A Parquet file that rows are appended to."""

    def __init__(self, path, schema):
        self.path, self.schema, self.rows = path, schema, []
        self.writer = pq.ParquetWriter(path, schema, compression="zstd")

    def append(self, row):
        self.rows.append(row)
        if len(self.rows) == ROWS:
            self.flush()

    def flush(self):
        columns = zip(*self.rows) if self.rows else ((),) * len(self.schema)
        arrays = [
            pa.array(map(int_or_none, column) if pa.types.is_timestamp(field.type) else column, field.type)
            for field, column in zip(self.schema, columns)
        ]
        self.writer.write_batch(pa.record_batch(arrays, self.schema))
        self.rows.clear()

    def close(self):
        self.flush()
        self.writer.close()
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())


def int_or_none(value):
    return None if value is None else int(value)


def work(paths, out, number):
    gc.disable()
    emails = Table(f"{out}/emails-{number}.parquet", EMAILS)
    attachments = Table(f"{out}/attachments-{number}.parquet", ATTACHMENTS)
    for path in paths:
        read(path, emails, attachments)
    emails.close()
    attachments.close()


def main(maildir, out):
    paths = [
        entry.path
        for folder in [maildir, *(entry.path for entry in os.scandir(maildir) if entry.name.startswith("."))]
        for entry in os.scandir(f"{folder}/cur")
    ]
    os.makedirs(out)
    workers = [
        multiprocessing.Process(target=work, args=(paths[number::PROCESSES], out, number))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode != 0 for worker in workers):
        sys.exit("a parser process failed")
    directory = os.open(out, os.O_RDONLY)
    os.fsync(directory)
    print(sum(pq.read_metadata(f"{out}/emails-{number}.parquet").num_rows for number in range(PROCESSES)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
