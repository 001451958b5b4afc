"""The package as a whole: what it imports, what it names, what the command line prints."""

import ast
import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import fastlin as fl
from fastlin import _extras, ops

ROOT = Path(__file__).parent.parent
PAGES = sorted(str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")))
MODULES = [m.name for m in pkgutil.walk_packages(fl.__path__, "fastlin.") if m.name != "fastlin.__main__"]


def run(code, **env):
    """Runs Python code in a process of its own, and returns its output."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | env,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_no_heavy_package():
    heavy = run(
        "import sys, fastlin;"
        "print(*{'numba', 'scipy', 'sklearn', 'matplotlib', 'tqdm', 'llvmlite', 'dask'} & set(sys.modules))"
    )
    assert heavy == ""


def test_import_loads_what_most_programs_use():
    """Training, fits and losses; what only some need comes when it is asked for: its names, and how parts are read."""
    own = "{name for name in sys.modules if name.startswith('fastlin.')}"
    before = run(f"import sys, fastlin; print(*{own})")
    for name in ("data", "schedules", "updates", "search", "gradcheck", "second_order", "estimators", "dask"):
        assert f"fastlin.{name}" not in before.split()
    for word in ("survey", "windows", "predicted", "sources"):
        assert word not in before
    names = "schedules.cosine, fl.scale_lr, fl.updates.adam_update, fl.load_digits, fl.newton_step, fl.random_search"
    assert "adam_update" in run(f"import fastlin as fl; print(fl.{names}, 'adam_update' in dir(fl))")
    with pytest.raises(AttributeError, match="module 'fastlin' has no attribute 'survey'"):
        fl.survey  # noqa: B018


def test_module_is_the_command():
    """`python -m fastlin` is `fastlin`, and its exit status is that of the command."""
    for command, status, said in ((["info"], 0, "(default)"), (["compare", "--data", "absent.npz"], 2, "absent.npz")):
        command = [sys.executable, "-P", "-m", "fastlin", *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert said in done.stdout + done.stderr


def test_a_bar_hands_on_every_item(capsys):
    pytest.importorskip("tqdm")
    assert list(_extras.progress(iter("abc"), "reading", True, 3)) == ["a", "b", "c"]
    assert "reading" in capsys.readouterr().err


def test_import_keeps_subnormals():
    """Code linked with -ffast-math would switch them off for the whole process."""
    tiny = "import numpy as np, fastlin; from fastlin import ops; ops.module(ops.resolve(None));"
    assert run(tiny + "print(np.float32(1e-45) > 0, np.finfo(np.float32).smallest_subnormal > 0)") == "True True"


def test_public_names():
    assert list(fl.__all__) == sorted(fl.__all__, key=fl.__all__.index)
    for name in fl.__all__:
        assert getattr(fl, name).__doc__, name
    contract = "softmax_loss svm_loss scores softmax predict L2 L1 ElasticNet SGD Adam train numerical_gradient "
    contract += "check_gradient use_backend show_backends set_num_threads"
    assert set(contract.split()) <= set(fl.__all__)


def test_kernels_refuse_their_bare_name(monkeypatch):
    folder = Path(importlib.import_module("fastlin.kernels").__file__).parent
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, "kernels", raising=False)  # the bench of that name, if another test ran it
    if folder.name != "kernels":
        pytest.skip("installed under another name")
    with pytest.raises(ImportError, match=r"this folder is the package fastlin\.kernels"):
        importlib.import_module("kernels")


def test_without_a_compiler():
    """Without any compiled module losses and steps give the same results by NumPy."""
    code = (
        "import sys; sys.modules.update({f'fastlin.kernels.{name}': None for name in ('quick_check', 'cython_base')});"
        "import numpy as np, fastlin as fl; fl.use_backend('numpy').__enter__();"
        "W, optimizer = np.zeros((2, 3)), fl.SGD(3.0);"
        "loss, dW = fl.svm_loss(W, np.ones((1, 2)), [0], out=np.empty((2, 3)));"
        "optimizer.step(W, dW); optimizer.step([W], [dW]); print(loss, W[0].tolist())"
    )
    assert run(code) == "2.0 [12.0, -6.0, -6.0]"


def test_arrows_only_go_down():
    """Kernels import nothing from above; the edge reaches them through the table only, but for its own checks in C."""
    edge = Path(fl.__file__).parent
    bodies = Path(importlib.import_module("fastlin.kernels").__file__).parent
    own = "quick_check", "contract", "records"
    for folder, allowed in ((edge, "fastlin"), (bodies, "fastlin.kernels")):
        for path in folder.rglob("*.py"):
            if folder == edge and bodies in path.parents:  # installed, the bodies are inside
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                ours = [name for name in names if name.startswith("fastlin")]
                if folder == bodies:
                    assert all(name.startswith(allowed) for name in ours), (path, ours)
                else:
                    reached = {name for name in ours if name.startswith("fastlin.kernels")}
                    assert reached <= {f"fastlin.kernels.{name}" for name in own}, (path, reached)


@pytest.mark.parametrize("name", ["fastlin", *MODULES])
def test_docstring_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


@pytest.mark.parametrize("isa", ["base", "avx2", "avx512"])
def test_each_instruction_set(isa):
    if "cython" not in ops.installed() or isa not in ops.module("cython").built():
        pytest.skip(f"{isa} is not built or not supported here")
    code = (
        "from fastlin import ops, testing;"
        "assert ops.module('cython').ISA == '%s';"
        "case = testing.random_case(50, 37, 10).astype('float32');"
        "ref = testing.reference('softmax', case);"
        "print(max(ref.errors(*case.evaluate('softmax', backend='cython'))) <= testing.tolerance('float32', ref.terms))"
    )
    assert run(code % isa, FASTLIN_ISA=isa) == "True"


def test_unknown_instruction_set_is_refused():
    if "cython" not in ops.installed():
        pytest.skip("cython is not installed")
    call = "fl.svm_loss([[0.0]], [[1.0]], [0], backend='cython')"
    code = f"import fastlin as fl\ntry: {call}\nexcept ValueError as e: print(e)"
    message = run(code, FASTLIN_ISA="mmx")
    assert message.startswith("FASTLIN_ISA='mmx', but this machine and installation offer ")
    assert "base" in message
    assert "compiler" not in message


def test_choice_of_backend(monkeypatch):
    def setenv(name):
        monkeypatch.setenv("FASTLIN_BACKEND", name)
        ops._default.cache_clear()  # a process reads it once

    setenv("")
    assert ops.resolve(None) == next(name for name in ("cython", "numba", "numpy") if name in ops.installed())
    setenv("naive")
    assert ops.resolve(None) == "naive"
    with fl.use_backend("numpy"):
        assert ops.resolve(None) == "numpy"
        assert ops.resolve("naive") == "naive"
    assert ops.resolve(None) == "naive"
    setenv("julia")
    with pytest.raises(ValueError, match="FASTLIN_BACKEND must be one of naive, numpy, numba, cython; found 'julia'"):
        ops.resolve(None)
    setenv("")


def test_show_backends_says_how_to_get_one(monkeypatch, capsys):
    absent = ops.Backend("fastlin.kernels.absent_ops", "absent", "pip install 'fastlin[absent]'", compiled=True)
    monkeypatch.setitem(ops.BACKENDS, "absent", absent)
    fl.show_backends()
    out = capsys.readouterr().out
    assert "numpy   installed" in out
    assert "absent  missing: absent is not installed; pip install 'fastlin[absent]'" in out
    assert out.count("(default)") == 1


def test_readme_examples(tmp_path, monkeypatch):
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("the README is not beside the tests")
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    assert len(blocks) >= 5
    monkeypatch.chdir(tmp_path)  # they write files
    exec("\n".join(blocks), {})


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page):
    """`fastlin/ops.py`, `kernels/native/` and the like; a star stands for several."""
    if not (ROOT / "kernels").exists():
        pytest.skip("the package is not beside the tests")
    named = re.findall(r"`((?:fastlin|kernels|tests|bench|docs|native)/[\w./*]*)`", (ROOT / page).read_text())
    assert named or page not in {"README.md", "CONTRIBUTING.md", "docs/kernels.md", "docs/solvers.md"}
    for name in named:
        pattern = name.replace("native/", "kernels/native/") if name.startswith("native/") else name
        assert list(ROOT.glob(pattern.rstrip("/"))), name


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page):
    """To files of the checkout, and to headings by their words."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", (ROOT / page).read_text()):
        name, _, heading = target.partition("#")
        there = (ROOT / page).parent / name if name else ROOT / page
        assert there.exists(), target
        headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE) if heading else []
        slugs = {re.sub(r"[^\w -]", "", words.lower()).strip().replace(" ", "-") for words in headings}
        assert not heading or heading in slugs, target


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The names in an sdist, in a wheel, and in kernels/ after an in-place build, where no extension compiles.

    They are made of the tracked files and of what earlier builds and tests leave in a folder.
    """
    pytest.importorskip("Cython")
    root, here = ROOT, tmp_path_factory.mktemp("tree")
    if not (root / ".git").exists():
        pytest.skip("the tests are not in a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True)
    tracked = {name for name in listed.stdout.split("\n") if name and (root / name).exists()}
    suffix, machine = sysconfig.get_config_var("EXT_SUFFIX"), sysconfig.get_platform()
    libraries = f"build/lib.{machine}-{sys.implementation.cache_tag}/fastlin"
    left = [f"{folder}/cython_base{suffix}" for folder in ("kernels", f"{libraries}/kernels")]
    left += [
        f"kernels/removed{suffix}",
        f"{libraries}/removed.py",
        f"build/bdist.{machine}/wheel/fastlin/unfinished.py",
    ]
    left += [
        "tests/__pycache__/conftest.cpython-311.pyc",
        "tests/fuzz/.hypothesis/examples",
        "bench/.mypy_cache/x.json",
    ]
    for name in (*tracked, *left):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes((root / name).read_bytes() if name in tracked else b"left behind")
    for commands in (["sdist", "bdist_wheel"], ["build_ext", "--inplace"]):
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", *commands],
            cwd=here,
            env=os.environ | {"CC": "/bin/false"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    with tarfile.open(next((here / "dist").glob("*.tar.gz"))) as sdist:
        packed = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    with zipfile.ZipFile(next((here / "dist").glob("*.whl"))) as wheel:
        installed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    return tracked, packed, installed, {path.name for path in (here / "kernels").iterdir()}


@pytest.mark.slow
def test_sdist_is_what_is_tracked(built):
    """Whoever packages it finds the tests with their helpers, the benches, pages and examples; and nothing else."""
    tracked, packed, _, _ = built
    made = {name for name in packed if name in {"PKG-INFO", "setup.cfg"} or name.startswith("fastlin.egg-info/")}
    assert packed - made == tracked


@pytest.mark.slow
def test_wheel_holds_nothing_of_an_earlier_build(built):
    """A module that does not compile is missing, not old; a module that was removed is not there."""
    tracked, _, installed, _ = built
    shipped = re.compile(r"(fastlin|kernels)/.*\.(py|typed|pyx|pxi|h|html|css|js)")
    sources = {name for name in tracked if shipped.fullmatch(name)}
    assert installed == {re.sub("^kernels/", "fastlin/kernels/", name) for name in sources}


@pytest.mark.slow
def test_build_in_place_leaves_no_old_module(built):
    tracked, _, _, here = built
    assert here == {name.split("/")[1] for name in tracked if name.startswith("kernels/")}
