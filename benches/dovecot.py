"""A Dovecot of our own that serves a copy of a Maildir; the twin of `fixtures/src/dovecot.rs`.

- In: a directory, a Maildir. Out: a server on a free port of the loopback interface, in plain text.
- Runs as any user; as root, mail belongs to `nobody`, since Dovecot serves no mail as root.
"""

import getpass
import grp
import os
import pathlib
import shutil
import socket
import subprocess
import time

USER, PASSWORD = "me", "secret"
NOBODY = 65_534


class Dovecot:
    def __init__(self, base, maildir):
        self.base = pathlib.Path(base)
        self.maildir = self.base / "home" / "Maildir"
        shutil.copytree(maildir, self.maildir, copy_function=shutil.copyfile)
        self.base.chmod(0o755)
        self.own()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (self.base / "dovecot.conf").write_text(self.configuration())
        # A session of its own: `measure` adds up what its processes use.
        self.server = subprocess.Popen(
            [program("dovecot"), "-F", "-c", self.base / "dovecot.conf"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        end = time.monotonic() + 20
        while not self.greets():
            if self.server.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"dovecot does not start:\n{(self.base / 'dovecot.log').read_text()}")
            time.sleep(0.05)

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as there:
                return there.recv(64).startswith(b"* OK")
        except OSError:
            return False

    def own(self):
        """Gives all mail to the account."""
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", self.base / "home"], check=True)

    def doveadm(self, *arguments, mail=None):
        done = subprocess.run(
            [program("doveadm"), "-c", self.base / "dovecot.conf", *arguments], input=mail, capture_output=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"doveadm {arguments}: {done.stderr.decode(errors='replace')}")

    def stop(self):
        self.server.terminate()
        self.server.wait()

    def configuration(self):
        uid, gid = (NOBODY, NOBODY) if os.getuid() == 0 else (os.getuid(), os.getgid())
        text = f"""
protocols = imap
listen = 127.0.0.1
base_dir = {self.base}/run
log_path = {self.base}/dovecot.log
ssl = no
disable_plaintext_auth = no
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={self.base}/home
}}
mail_location = maildir:~/Maildir
mail_fsync = never
first_valid_uid = 1
first_valid_gid = 1
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  process_min_avail = 1
  service_count = 0
  chroot =
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""
        if os.getuid() != 0:
            user, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
            text += f"default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}\n"
        return text


def program(name):
    """Debian keeps servers where not every user looks."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin") or name
