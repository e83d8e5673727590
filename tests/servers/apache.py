"""Apache httpd on loopback: one directory under each style of mod_autoindex."""

import os
from pathlib import Path

from tests.servers.process import LOOPBACK, Server, answers, find, free_port

MODULES = ("mpm_event", "authz_core", "dir", "alias", "mime", "autoindex")
CONF = """
ServerName localhost
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
Listen {host}:{port}
ErrorLog {directory}/error.log
TypesConfig /dev/null
{modules}
DocumentRoot {root}
Alias /fancy {root}
Alias /table {root}
<Directory {root}>
  Options Indexes
  Require all granted
</Directory>
<Location /fancy/>
  IndexOptions FancyIndexing
</Location>
<Location /table/>
  IndexOptions FancyIndexing VersionSort HTMLTable NameWidth=* DescriptionWidth=* Charset=UTF-8
</Location>
"""


class Apache(Server):
    """A running Apache.

    Attributes:
        url: with plain indexes, the default.
        fancy_url: the same directory, FancyIndexing: it cuts the names it shows at 23 characters.
        table_url: the same directory, with Debian's own IndexOptions.
    """

    def __init__(self, directory: Path, root: Path) -> None:
        super().__init__("apache2", directory)
        program = find("apache2", "apache2")
        self.root, self.port = root, free_port()
        self.url = f"http://{LOOPBACK}:{self.port}/"
        self.fancy_url, self.table_url = self.url + "fancy/", self.url + "table/"
        modules = "\n".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so" for m in MODULES)
        conf = directory / "apache.conf"
        conf.write_text(CONF.format(directory=directory, root=root, host=LOOPBACK, port=self.port, modules=modules))
        # It serves no file as root, and nobody else may enter pytest's directories.
        nobody = [
            "--reuid",
            "nobody",
            "--regid",
            "nogroup",
            "--clear-groups",
            "--inh-caps",
            "+dac_override",
            "--ambient-caps",
            "+dac_override",
        ]
        self.start(
            [program, "-f", str(conf), "-D", "FOREGROUND"],
            lambda: answers(self.port),
            privileges=nobody if os.geteuid() == 0 else [],
        )
