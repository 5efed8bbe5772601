"""Names of workers, and what a control group path tells."""

from __future__ import annotations

import pytest

from accepttrace.sockets import procfs
from accepttrace.sockets.names import worker_name

ID = "4f" * 32


@pytest.mark.parametrize(
    ("lines", "path", "container"),
    [
        ("0::/system.slice/nginx.service\n", "/system.slice/nginx.service", None),
        (f"0::/system.slice/docker-{ID}.scope\n", f"/system.slice/docker-{ID}.scope", ID[:12]),
        (f"2:cpu:/\n1:name=systemd:/docker/{ID}\n0::/\n", f"/docker/{ID}", ID[:12]),
        ("3:memory:/a\n2:cpu,cpuacct:/a/longest\n", "/a/longest", None),
        ("0::/\n", "/", None),
        ("0::/a:b\n", "/a:b", None),
        ("", None, None),
    ],
)
def test_control_group(lines: str, path: str | None, container: str | None) -> None:
    assert procfs.cgroup_path(lines) == path
    assert procfs.container_id(path) == container


@pytest.mark.parametrize(
    ("comm", "cmdline", "name"),
    [
        ("nginx", ["nginx: worker process"], "nginx: worker"),
        ("nginx", ["nginx: master process /usr/sbin/nginx -g daemon off;"], "nginx: master"),
        ("nginx", ["nginx: worker process is shutting down"], "nginx: worker (leaving)"),
        ("nginx", ["nginx: cache manager process"], "nginx: cache manager"),
        ("gunicorn", ["gunicorn: worker [app]"], "gunicorn: worker"),
        ("gunicorn", ["gunicorn: master [app]"], "gunicorn: master"),
        ("gunicorn", ["/usr/bin/python3", "/usr/bin/gunicorn", "app:x"], "gunicorn"),
        ("python3", ["python3", "-m", "uvicorn", "app:x"], "uvicorn"),
        ("python3", ["python3", "-u", "-W", "ignore", "/srv/manage.py", "run"], "manage.py"),
        ("python3", ["python3", "-c", "print()"], "python3"),
        ("python3.11", ["/opt/v/bin/python3.11", "-m", "http.server"], "http.server"),
        ("python3", ["python3"], "python3"),
        ("php-fpm8.2", ["php-fpm: pool www"], "php-fpm: pool www"),
        ("php-fpm8.2", ["php-fpm: master process (/etc/php/fpm.conf)"], "php-fpm: master"),
        ("node", ["node", "--require", "./x.js", "/srv/server.js"], "server.js"),
        ("ruby", ["puma: cluster worker 2: 77 [shop]"], "puma: worker"),
        ("ruby", ["unicorn worker[0] -c /etc/u.rb"], "unicorn: worker"),
        ("ruby", ["ruby", "-I", "lib", "/srv/app.rb"], "app.rb"),
        ("perl", ["/usr/bin/perl", "-w", "/srv/serve.pl"], "serve.pl"),
        ("java", ["java", "-cp", "a:b", "-Xmx1g", "org.example.Main", "x"], "Main"),
        ("java", ["java", "-Xmx1g", "-jar", "/opt/shop.jar"], "shop.jar"),
        ("haproxy", ["/usr/sbin/haproxy", "-Ws", "-f", "/etc/haproxy.cfg"], "haproxy"),
        ("wrk:worker_0", ["/usr/local/bin/envoy", "-c", "x"], "wrk:worker_0"),
        ("sshd", ["sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"], "sshd: listener"),
        ("vim", ["vim", "nginx: worker process"], "vim"),
        ("kworker/0:1", [], "kworker/0:1"),
    ],
)
def test_worker_name(comm: str, cmdline: list[str], name: str) -> None:
    assert worker_name(comm, cmdline) == name


def test_a_name_that_an_interpreter_gave_itself_wins_over_the_script() -> None:
    words = ["/usr/bin/python3", "/usr/bin/serve.py"]
    assert worker_name("shard 3", words) == "shard 3"
    assert worker_name("python3.11", words) == "serve.py"
    assert worker_name("serve.py", words) == "serve.py"
    assert worker_name("MainThread", ["node", "/srv/app.js"]) == "app.js"
