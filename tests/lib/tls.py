"""Certificates for tests, made with the openssl command: an authority of our own, and what it has signed."""

import datetime
import subprocess
from pathlib import Path


class Authority:
    """A certificate authority in `folder`; its own certificate is `root`."""

    def __init__(self, folder, name):
        self.folder, self.name = Path(folder), name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.root, self.key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                  "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.root)  # fmt: skip

    def _run(self, *arguments):
        command = ["openssl", *map(str, arguments)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def sign(self, name, common_name, alternatives=(), is_expired=False, key=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        """Certificate and key files of `common_name`; `alternatives` as "DNS:localhost", "IP:127.0.0.1"."""
        certificate, secret, request = (self.folder / f"{name}.{kind}" for kind in ("crt", "key", "csr"))
        self._run("req", "-new", "-newkey", *key, "-nodes", "-subj", f"/CN={common_name}", "-keyout", secret, "-out", request)
        now = datetime.datetime.now(datetime.timezone.utc)
        start, end = (now - datetime.timedelta(days=20), now + datetime.timedelta(days=-10 if is_expired else 10))
        (self.folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nrand_serial = yes\ndefault_md = sha256\n"
            "new_certs_dir = .\npolicy = any\nunique_subject = no\n[any]\ncommonName = supplied\n[extensions]\n"
            + (f"subjectAltName = {','.join(alternatives)}\n" if alternatives else "basicConstraints = CA:false\n")
        )
        (self.folder / "index.txt").write_text("")
        form = "%Y%m%d%H%M%SZ"
        self._run("ca", "-batch", "-notext", "-config", "ca.cnf", "-extensions", "extensions", "-cert", self.root,
                  "-keyfile", self.key, "-startdate", start.strftime(form), "-enddate", end.strftime(form),
                  "-in", request, "-out", certificate)  # fmt: skip
        secret.chmod(0o600)
        return certificate, secret
