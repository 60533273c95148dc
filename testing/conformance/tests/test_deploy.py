"""`deploy/` and `docs/operations.md` say nothing of Umbra that is not so, and their files are what they should be, as far as that can be told here."""

import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

from harness import postgres
from harness.umbra import REPOSITORY, Umbra, binary
from harness.wait import until

DEPLOY = REPOSITORY / "deploy"
OPERATIONS = REPOSITORY / "docs" / "operations.md"
COMPOSE = sorted((DEPLOY / "compose").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("umbra*"))
CHART = DEPLOY / "helm" / "umbra"
KEYS = {"masterKey": "0a" * 32, "rootAccessKey": "UMBRROOT", "rootSecretKey": "a-secret-of-tests"}


def _run(*argv, **options):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120, **options)


def _files():
    return [path for path in DEPLOY.rglob("*") if path.is_file()] + [OPERATIONS]


def _help(*command):
    return _run(binary(), *command, "--help").stdout


def _commands(above=()):
    """Every command with its help."""
    text = _help(*above)
    found = {above: text}
    listed = text.partition("\nCommands:\n")[2].partition("\n\n")[0]
    for name in re.findall(r"^  ([a-z-]+) ", listed, re.M):
        if name != "help":
            found.update(_commands((*above, name)))
    return found


@pytest.fixture(scope="module")
def commands():
    return _commands()


def _flags(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def _settings_of(env, tmp_path):
    """What a server would start with in an environment: refused if a value makes no sense."""
    known = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = _run(binary(), "settings", env={**known, **{k: str(v) for k, v in env.items()}}, cwd=tmp_path)
    assert done.returncode == 0, f"{env}\n{done.stderr}"
    return done.stdout


def test_variables_exist(commands):
    """Every UMBRA_ variable that is named is one that the server reads."""
    sources = "".join(path.read_text() for path in (REPOSITORY / "crates/server/src").rglob("*.rs"))
    known = set(re.findall(r"UMBRA_[A-Z0-9_]*[A-Z0-9]", commands[("serve",)])) | set(re.findall(r'"(UMBRA_[A-Z0-9_]*[A-Z0-9])"', sources))
    # Of the balancer, not of the server.
    known |= {"UMBRA_NODES"}
    assert {"UMBRA_BLOBS", "UMBRA_ROOT_SECRET_KEY", "UMBRA_MASTER_KEY"} <= known
    for path in _files():
        named = set(re.findall(r"UMBRA_[A-Z0-9_]*[A-Z0-9]", path.read_text()))
        assert named <= known, f"{path}: {named - known}"


def test_commands_exist(commands):
    """Every command that is shown is one, with the flags it is shown with."""
    text = re.sub(r"\\\n\s*", " ", OPERATIONS.read_text())
    shown = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    shown += re.findall(r"`(umbra [a-z][^`]*)`", text)
    shown += [line for path in DEPLOY.rglob("*") if path.is_file() for line in re.sub(r"\\\n\s*", " ", path.read_text()).splitlines()]
    seen = set()
    for line in shown:
        line = re.sub(r"exec umbra |helm install umbra |description: .*", "", line.split(" # ")[0])
        for words in re.findall(r"(?:^|[\s(/'])umbra ((?:[a-z]+ ?)+.*)", line):
            command = ()
            for word in words.split():
                if (*command, word) not in commands:
                    break
                command = (*command, word)
            assert command, f"{line}: there is no such command"
            seen.add(command)
            wrong = _flags(words) - _flags(commands[command])
            assert not wrong, f"{line}: {wrong}"
    assert {("serve",), ("backup",), ("metadata", "export"), ("metadata", "import"), ("storage", "migrate")} <= seen
    everything = set().union(*(_flags(text) for text in commands.values()))
    alone = set(re.findall(r"`(--[a-z][a-z0-9-]*)[^`]*`", text))
    assert alone <= everything, alone - everything


def test_metrics_exist():
    """Every metric that is to be watched is one."""
    known = set(re.findall(r"umbra_[a-z0-9_]+", (REPOSITORY / "docs" / "metrics.md").read_text()))
    named = set(re.findall(r"umbra_[a-z0-9_]+", OPERATIONS.read_text()))
    assert len(named) > 5
    for name in named - {"umbra_kv"}:
        assert re.sub(r"_(total|bucket|sum|count)$", "", name) in known, name


def test_links_lead_somewhere():
    """Files and headings that the page refers to are there."""
    for target in re.findall(r"\]\(([^)]+)\)", OPERATIONS.read_text()):
        path, _, anchor = target.partition("#")
        page = (OPERATIONS.parent / path).resolve() if path else OPERATIONS
        assert page.exists(), target
        if anchor:
            headings = [re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in re.findall(r"^#+ (.*)", page.read_text(), re.M)]
            assert anchor in headings, target


def _compose_env():
    done = _run(DEPLOY / "compose" / "make-env")
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def _resolved(value, env):
    """A value of a compose file as it is after its variables were put in."""

    def put(found):
        name, _, rest = found.group(1).partition(":")
        assert name in env or rest[:1] == "-", f"nothing gives {name}"
        return env.get(name, rest[1:])

    return re.sub(r"\$\{([^}]+)\}", put, str(value))


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.stem)
def test_compose_files(path, tmp_path):
    """They parse, refer to what they have, stop more slowly than the server drains, and give settings that can be used."""
    document, env = yaml.safe_load(path.read_text()), _compose_env()
    services = document["services"]
    nodes = 0
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= set(services), name
        assert set(service.get("networks", ())) <= set(document.get("networks", ())), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in document["volumes"] or (path.parent / source).exists(), f"{name}: {volume}"
        if service["image"].startswith("umbra:"):
            nodes += 1
            assert service["stop_grace_period"] == ("90s" if path.stem == "one" else "150s")
            assert (path.parent / service["build"]["context"] / service["build"]["dockerfile"]).exists()
            shown = _settings_of({k: _resolved(v, env) for k, v in service.get("environment", {}).items()}, tmp_path)
            assert env["UMBRA_MASTER_KEY"] not in shown
    assert nodes == {"one": 1, "nodes": 3, "regions": 6}[path.stem]
    urls = [s["environment"]["UMBRA_NODE_URL"] for s in services.values() if "UMBRA_NODE_URL" in s.get("environment", {})]
    assert len(set(urls)) == len(urls) and len(urls) in (0, nodes)
    # The client may be there without it, and needs no engine for this.
    if _run("docker", "compose", "version").returncode == 0 if shutil.which("docker") else False:
        done = _run("docker", "compose", "-f", path, "config", "-q", env={**os.environ, **env})
        assert done.returncode == 0, done.stderr


def test_regions_read_a_standby(tmp_path):
    """Of three regions, the two without the database have a standby in their network, and all their nodes are told of it."""
    document, env = yaml.safe_load((DEPLOY / "compose" / "regions.yaml").read_text()), _compose_env()
    services = document["services"]
    told = {}
    for service in services.values():
        environment = service.get("environment", {})
        if service["image"].startswith("umbra:"):
            told.setdefault(environment["UMBRA_REGION"], []).append(environment.get("UMBRA_METADATA_REPLICA"))
            shown = _settings_of({k: _resolved(v, env) for k, v in environment.items()}, tmp_path)
            assert ("metadata_replica = \"postgres://" in shown) == ("UMBRA_METADATA_REPLICA" in environment)
    assert told.pop("fra") == [None, None] and set(told) == {"iad", "sin"}
    for region, replicas in told.items():
        assert replicas == [f"postgres://umbra@postgres-{region}:5432/umbra?sslmode=disable"] * 2
        assert region in services[f"postgres-{region}"]["networks"]


@pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")
def test_a_standby_is_made_and_follows(tmp_path):
    """By the commands of `regions.yaml`, from a database that lets standbys in by its script; started again it goes on with what it has."""
    document = yaml.safe_load((DEPLOY / "compose" / "regions.yaml").read_text())
    options = " ".join(document["services"]["postgres"]["command"][1:])
    primary = postgres.Postgres(postgres.open_to_others(tmp_path) / "primary", options=options).start()
    standby = postgres.Postgres(tmp_path / "standby")
    try:
        rules = primary.dir / "data" / "pg_hba.conf"
        rules.write_text("".join(line for line in rules.read_text().splitlines(True) if " replication " not in line))
        primary.restart()
        [script] = document["services"]["postgres-iad"]["command"]
        script = script.replace("$$", "$").replace("postgres://umbra@postgres:5432/umbra", primary.url(password=None))
        more = f"-p {standby.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        script = script.replace("exec postgres", f"exec postgres {more}")
        assert more in script and str(primary.port) in script
        standby.dir.mkdir()
        as_user = {"user": standby.user.pw_uid, "group": standby.user.pw_gid, "extra_groups": []} if standby.user else {}
        if standby.user:
            os.chown(standby.dir, standby.user.pw_uid, standby.user.pw_gid)
        env = {"PATH": f"{standby.programs}:{os.environ['PATH']}", "PGDATA": str(standby.dir / "data"), "PGPASSWORD": postgres.PASSWORD}

        def run():
            with open(tmp_path / "standby.log", "ab") as log:
                return subprocess.Popen(["/bin/bash", "-ec", script], cwd=standby.dir, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user)

        def follows(table):
            try:
                return standby.sql(f"SELECT pg_is_in_recovery() AND EXISTS (SELECT FROM pg_tables WHERE tablename = '{table}')") == "t"
            except subprocess.CalledProcessError:
                return False

        refused = run()
        assert refused.wait(60) != 0 and "no pg_hba.conf entry for replication" in (tmp_path / "standby.log").read_text()
        done = _run(DEPLOY / "compose" / "replication.sh", env={"PATH": os.environ["PATH"], "PGDATA": str(primary.dir / "data")})
        assert done.returncode == 0, done.stderr
        primary.restart()
        for table in ("first", "second"):
            running = run()
            try:
                primary.sql(f"CREATE TABLE {table} (n int)")
                until(f"it follows to the {table} table", lambda: follows(table), 60)
            finally:
                running.terminate()
                running.wait(60)
    finally:
        standby.remove()
        primary.remove()


def test_secrets_are_made_anew():
    """Each time others, of the form that the server wants."""
    first, second = _compose_env(), _compose_env()
    assert re.fullmatch("[0-9a-f]{64}", first["UMBRA_MASTER_KEY"])
    assert first.keys() == second.keys() and not set(first.values()) & set(second.values())


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed: apt-get install haproxy")
def test_balancer():
    done = _run("haproxy", "-c", "-f", DEPLOY / "compose" / "haproxy.cfg", env={**os.environ, "UMBRA_NODES": "umbra"})
    assert done.returncode == 0, done.stdout + done.stderr


def test_ready_script(tmp_path):
    """The image's health check tells a server that serves from one that does not."""
    server = Umbra(tmp_path / "umbra").start()
    port = server.admin_listen.split(":")[1]
    assert _run(DEPLOY / "umbra-ready", port).returncode == 0
    server.stop()
    assert _run(DEPLOY / "umbra-ready", port).returncode == 1
    server.remove()


def test_dockerfile():
    """What it copies is there, and not kept from the build; it does not run as root."""
    text = (DEPLOY / "Dockerfile").read_text()
    let_in = re.findall(r"^!(.+)", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.M)
    assert all((REPOSITORY / path).exists() for path in let_in)
    members = re.search(r"members = \[(.*?)\]", (REPOSITORY / "Cargo.toml").read_text(), re.S).group(1)
    for member in re.findall(r'"([^"]+)"', members):
        assert any(member == path or member.startswith(f"{path}/") for path in let_in), member
    for source in re.findall(r"^COPY (?:--chmod=\d+ )?(deploy/\S+)", text, re.M):
        assert source in let_in
    assert "--ignore-rust-version" in text and re.search(r"^USER 10001", text, re.M)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_units(tmp_path):
    """systemd takes them for units, and for well shut in."""
    for unit in UNITS:
        # An instance, and the program where it is here.
        name = unit.name.replace("@.", "@fra.")
        (tmp_path / name).write_text(unit.read_text().replace("/usr/local/bin/umbra", str(binary())))
    units = sorted(path.name for path in tmp_path.iterdir())
    assert units == ["umbra-backup.service", "umbra-backup.timer", "umbra.service", "umbra@fra.service"]
    done = _run("systemd-analyze", "verify", "--man=no", *(f"./{unit}" for unit in units), cwd=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (0, ""), done.stderr
    for unit in ("umbra.service", "umbra@fra.service"):
        said = _run("systemd-analyze", "security", "--offline=true", "--no-pager", f"./{unit}", cwd=tmp_path).stdout
        assert float(re.search(r"exposure level for \S+ ([0-9.]+)", said).group(1)) <= 2, said


def test_units_stop_later_than_the_drain(commands):
    drain = int(re.search(r"--drain-secs .*?\[default: (\d+)\]", commands[("serve",)], re.S).group(1))
    # A node drains what clients ask, and then what other nodes do.
    for unit, drains in (("umbra.service", 1), ("umbra@.service", 2)):
        patience = int(re.search(r"^TimeoutStopSec=(\d+)", (DEPLOY / "systemd" / unit).read_text(), re.M).group(1))
        assert patience >= drains * drain + 50, unit


@pytest.mark.parametrize("name", ["node", "region"])
def test_settings_of_a_node(name, tmp_path):
    lines = (DEPLOY / "systemd" / f"{name}.env").read_text().splitlines()
    shown = _settings_of(dict(line.split("=", 1) for line in lines if line and not line.startswith("#")), tmp_path)
    assert ('metadata_replica = "postgres://' in shown) == (name == "region")


def _render(values):
    """The chart's manifests, by Helm itself: the program, or the library as a module for Python."""
    if shutil.which("helm"):
        done = _run("helm", "template", "umbra", CHART, "--namespace", "storage", "--values", "-", input=json.dumps(values))
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]
    chart = pytest.importorskip("helm_python.chart", reason="Helm is not here: a program `helm`, or pip install helm-python-sdk")
    rendered = chart.Chart.load(CHART).render(values, name="umbra", namespace="storage")
    return [d for path, text in rendered.items() if not path.endswith(".txt") for d in yaml.safe_load_all(text) if d]


@pytest.mark.parametrize("name", ["one", "nodes", "region"])
def test_chart(name, tmp_path):
    """It renders for one node, several, and one of several regions, with settings that can be used."""
    given = {} if name == "one" else yaml.safe_load((CHART / f"values-{name}.yaml").read_text())
    values = {**given, "settings": {**given.get("settings", {}), "reclaim_grace": 604800}, **({"secret": KEYS} if name == "one" else {})}
    documents = _render(values)
    kinds = sorted(d["kind"] for d in documents)
    assert kinds.count("StatefulSet") == 1 and kinds.count("Service") == 3
    assert ("PodDisruptionBudget" in kinds) == (name != "one") and ("Secret" in kinds) == (name == "one")
    [workload] = [d for d in documents if d["kind"] == "StatefulSet"]
    spec = workload["spec"]["template"]["spec"]
    [container] = spec["containers"]
    env = {e["name"]: e["value"] for e in container["env"] if "value" in e}
    shown = _settings_of(env, tmp_path)
    assert "reclaim_grace = 604800" in shown
    assert ('metadata_replica = "postgres://' in shown) == (name == "region")
    assert spec["terminationGracePeriodSeconds"] >= 2 * int(env["UMBRA_DRAIN_SECS"]) + 60
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz" and container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert spec["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    labels = workload["spec"]["template"]["metadata"]["labels"].items()
    for service in (d for d in documents if d["kind"] == "Service"):
        assert service["spec"]["selector"].items() <= labels
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= {p["name"] for p in container["ports"]}


def test_chart_refuses_what_cannot_work():
    """Several nodes without a database, and no keys."""
    for values in ({}, {"secret": KEYS, "replicas": 2}, {"secret": {**KEYS, "masterKey": "short"}}):
        with pytest.raises(Exception, match="masterKey|metadata.url"):
            _render(values)
