"""How examples are drawn: for each argument what is good, what is strange, and what must be refused."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from fastlin import ops

from . import oddities
from .specs import DAMAGES, LAYOUTS, PLAIN, A, Make, Odd, Shares, Sparse

LONG = "FASTLIN_FUZZ" in os.environ  # a long run; else a short one, which compiles nothing new with Numba
SHAPE_SEED = int(os.environ.get("FASTLIN_FUZZ", "0"))  # a long run has other shapes in each of its processes
Drawn = st.SearchStrategy[Any]


@dataclass(frozen=True)
class Arg:
    """What may be drawn for an argument."""

    good: Drawn  # answered, if all other arguments are good
    odd: Drawn | None = None  # answered or refused
    bad: Drawn | None = None  # refused
    optional: bool = True  # may be left out


@dataclass(frozen=True)
class Together:
    """Values of several arguments, drawn in the place of one."""

    values: Mapping[str, Any]


@dataclass
class Call:
    """A function of the table and the descriptions of its arguments."""

    name: str
    given: dict[str, Any]
    bad: frozenset[str] = field(default=frozenset())
    odd: frozenset[str] = field(default=frozenset())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How Hypothesis prints it."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        marks = "".join(f", {kind}={sorted(names)}" for kind, names in (("bad", self.bad), ("odd", self.odd)) if names)
        return f"replay({self.name!r}, {self.given!r}{marks})"


class Sizes(NamedTuple):
    """What the good arguments of a call have in common."""

    n: int
    d: int
    c: int
    dtype: str
    bias: bool
    backend: str

    @property
    def rows(self) -> int:
        """The rows of W."""
        return self.d + self.bias


Range = tuple[int, int]


def shapes(*kinds: tuple[Range, Range, Range], each: int = 8) -> Drawn:
    """Some n, d, c of each kind, between its limits: few of them, so that what is drawn for each is built once."""
    rng = np.random.default_rng(SHAPE_SEED)
    found = {tuple(low for low, _ in kind) for kind in kinds}
    for kind in kinds:
        found |= {tuple(int(rng.integers(low, high + 1)) for low, high in kind) for _ in range(each)}
    return st.sampled_from(sorted(found, key=lambda shape: (shape[0] * shape[1] * shape[2], shape)))


SHAPES = shapes(
    ((1, 9), (1, 9), (1, 5)),
    ((0, 2), (0, 2), (1, 2)),
    ((1, 40), (1, 40), (1, 11)),
    ((60, 140), (1, 70), (2, 12)),
    ((200, 700), (1, 6), (1, 4)),
    ((1, 4), (200, 900), (1, 3)),
    ((1, 200), (1, 90), (30, 72)),  # from 32 classes on other tiles make the products
)


@st.composite
def all_sizes(draw: Any, shapes: Drawn) -> Sizes:
    """Sizes, a dtype of W and a backend; the naive one for small sizes only, whose loops are Python's."""
    n, d, c = draw(shapes)
    names = [name for name in reversed(ops.installed()) if name != "naive" or n * d * c < 4000]
    return Sizes(
        n, d, c, draw(st.sampled_from(["float64", "float32"])), draw(st.booleans()), draw(st.sampled_from(names))
    )


SEEDS = st.integers(0, 99)
NOTHING_LIKE_IT = (None, "", "abc", b"1", [], {}, (), [1.0], 1j)
THINGS = st.sampled_from([*NOTHING_LIKE_IT, *(Odd(name) for name in oddities.THINGS)])

# ---- Scalars -------------------------------------------------------------------------------------------------


def ends_of(interval: str) -> tuple[float, float, bool, bool]:
    """The ends of "[0, 1)", and whether they belong to it."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high), interval[0] == "[", interval[-1] == "]"


def inside(value: float, interval: str) -> bool:
    """Whether a number lies in an interval; NaN never does."""
    low, high, with_low, with_high = ends_of(interval)
    return low < value < high or (with_low and value == low) or (with_high and value == high)


def number(interval: str, optional: bool = True, usual: Sequence[float] = (), none: bool = False) -> Arg:
    """A number inside an interval that is written as in mathematics; `none` says that None is good too."""
    low, high, with_low, with_high = ends_of(interval)
    ends = [end for end, belongs in ((low, with_low), (high, with_high)) if belongs and math.isfinite(end)]
    middle = [*usual, *ends, *(value for value in (0.1, 0.5, 0.9, 1.0, 2.5, 7.0) if inside(value, interval))]
    plain = st.sampled_from(middle)
    good = st.one_of(
        plain,
        plain.map(np.float64),
        st.sampled_from([value for value in middle if float(np.float32(value)) == value]).map(np.float32),
        *([st.just(None)] if none else []),
        *([st.sampled_from([1, np.int64(1)])] if inside(1, interval) else []),
    )
    strange = [
        Fraction(1, 2),
        Decimal("0.5"),
        True,
        np.bool_(True),
        1e30,
        1e308,
        5e-324,
        1e-300,
        10**30,
        np.float16(0.5),
    ]
    odd = st.one_of(
        st.sampled_from([value for value in strange if inside(float(value), interval)] or middle),
        plain.map(lambda value: A((), "float64", f"one:{value!r}")),
        plain.map(np.longdouble),
    )
    outside = [
        value for value in (-1.0, -5e-324, -1e308, 1.5, 1e308, -math.inf, math.inf) if not inside(value, interval)
    ]
    outside += [end for end, belongs in ((low, with_low), (high, with_high)) if not belongs]
    wrong = [math.nan, np.float32("nan"), *(value for value in NOTHING_LIKE_IT if not (none and value is None))]
    huge = [10**400, -(10**400), Fraction(10**400)] if math.isinf(high) else []
    arrays = st.sampled_from([A((1,)), A((2,)), A((0,)), A((1, 1)), A((), "complex64"), A((), "U3")])
    bad = st.one_of(st.sampled_from([*outside, *wrong, *huge]), st.sampled_from([*_things()]), arrays)
    return Arg(good, odd, bad, optional)


def _things() -> list[Odd]:
    """The oddities that are never a number."""
    return [Odd(name) for name in oddities.THINGS]


def count(low: int, usual: Drawn, optional: bool = True, none: bool = False) -> Arg:
    """An integer of at least `low`."""
    good = st.one_of(usual, usual.map(np.int64), *([st.just(None)] if none else []))
    wrong = [low - 1, -5, -(2**70), 1.5, float(low), math.nan, np.float64(2), "2", True, False, np.int64(low - 1)]
    nothing = [value for value in NOTHING_LIKE_IT if not (none and value is None)]
    bad = st.sampled_from([*wrong, *nothing, A((1,)), A((2,), "int64"), A((), "float64"), *_things()])
    return Arg(good, st.sampled_from([np.uint8(max(low, 3)), A((), "int64", "ones")]), bad, optional)


HUGE_COUNTS = st.sampled_from([2**31, 2**31 - 1, 2**32, 2**63, 2**70, 10**19, 10**400])


def threads() -> Arg:
    """How many threads; a number that no machine has is answered or refused."""
    found = count(1, st.integers(1, 8), none=True)
    return Arg(found.good, st.one_of(HUGE_COUNTS, st.just(np.uint8(3))), found.bad)


def choice(options: Sequence[Any], optional: bool = True) -> Arg:
    """One of these words."""
    named = [option for option in options if option is not None]
    nothing = [value for value in NOTHING_LIKE_IT if value not in options]
    wrong = [
        *nothing,
        "nothing like it",
        named[0].swapcase(),
        f" {named[0]}",
        named[0].encode(),
        0,
        1.0,
        True,
        math.nan,
    ]
    wrong += [[named[0]], (named[0],), {named[0]: 1}, *_things(), A((3,)), A((0,)), A((2,), "U3"), A((2,), "object")]
    return Arg(st.sampled_from(list(options)), None, st.sampled_from(wrong), optional)


def flag(good: Drawn | None = None) -> Arg:
    """True or False."""
    odd = st.sampled_from([np.bool_(True), np.bool_(False), 0, 1])
    wrong = [
        *NOTHING_LIKE_IT,
        2,
        -1,
        100_000,
        2**40,
        1.0,
        0.5,
        math.nan,
        "yes",
        np.int64(2),
        A((1,)),
        A((2,)),
        *_things(),
    ]
    return Arg(st.booleans() if good is None else good, odd, st.sampled_from(wrong))


def backend(sizes: Sizes) -> Arg:
    """The backend of the sizes."""
    found = choice(list(ops.BACKENDS))
    return Arg(
        st.just(sizes.backend), st.just(None), st.one_of(found.bad.filter(lambda value: value is not None)), False
    )


# ---- Arrays --------------------------------------------------------------------------------------------------

FLOATS = ("float32", "float64")
NO_NUMBERS = ("object", "complex64", "complex128", "structured", "datetime64[s]", "timedelta64[s]", "U3", "S3", "V4")
NO_FEATURES = (*NO_NUMBERS, "longdouble")
READABLE = (*PLAIN, "one row", "one column", "read-only", "memmap", "unaligned", "unaligned F")
UNUSUAL = tuple(name for name in LAYOUTS if name not in READABLE)
MOSTLY_C = st.one_of(st.just("C"), st.sampled_from(READABLE))


def swapped(dtype: str) -> str:
    """The dtype in the other byte order."""
    return np.dtype(dtype).newbyteorder().str


def arrays(shape: tuple[int, ...], dtypes: Sequence[str], fills: Sequence[str], layouts: Drawn = MOSTLY_C) -> Drawn:
    """Arrays of a shape."""
    found = st.builds(A, st.just(shape), st.sampled_from(dtypes), st.sampled_from(fills), SEEDS, layouts)
    # A row or column that stands for all would hide the one entry that is meant.
    return found.filter(lambda made: not (made.fill.startswith("one:") and made.layout in ("one row", "one column")))


def other_shapes(shape: tuple[int, ...]) -> Drawn:
    """Shapes that are not this one: a row more or fewer, transposed, another number of dimensions, empty."""
    found = [(), (0,), (1,), (*shape, 1), (1, *shape), shape[::-1], (2, 3, 4), (0, 0)]
    for axis, size in enumerate(shape):
        for other in (size + 1, max(size - 1, 0), 0, 2 * size + 3):
            found.append((*shape[:axis], other, *shape[axis + 1 :]))
    return st.sampled_from([other for other in found if other != shape])


def array(
    shape: tuple[int, ...],
    dtypes: Sequence[str],
    fills: Sequence[str] = ("normal", "zeros", "integers", "times:0.01"),
    *,
    strange: Sequence[str] = (),
    wrong: Sequence[str] = NO_NUMBERS,
    bad_shapes: Drawn | None = None,
    optional: bool = False,
    swaps: bool = True,
) -> Arg:
    """An array of this shape: `dtypes` are good, `strange` ones may be refused, `wrong` ones must be."""
    own = arrays(shape, dtypes, fills)
    swap = arrays(shape, [swapped(dtype) for dtype in dtypes], fills)
    odd = st.one_of(
        swap,
        arrays(
            shape,
            [*dtypes, *strange],
            [*fills, "extreme", "one:nan", "times:1e30", "times:1e-42"],
            st.sampled_from([*LAYOUTS]),
        ),
        *([arrays(shape, strange, fills)] if strange else []),
    )
    bad = [arrays(shape, wrong, ["normal"]), arrays(shape, dtypes, ["normal"], st.just("masked"))]
    if bad_shapes is not None:
        bad.append(bad_shapes.flatmap(lambda other: arrays(other, dtypes, ["normal"])))
    return Arg(
        st.one_of(own, own, own, swap) if swaps else own, odd, st.one_of(*bad, st.sampled_from(_no_arrays())), optional
    )


def _no_arrays() -> list[Any]:
    """What no array can be made of, or none of numbers."""
    names = (
        "object",
        "class",
        "module",
        "function",
        "ellipsis",
        "array is text",
        "ragged",
        "sparse",
        "set",
        "empty dict",
    )
    return [None, "abc", b"1", 1j, {}, *(Odd(name) for name in names), Odd("list of itself"), Odd("nested")]


# ---- What losses have in common --------------------------------------------------------------------------------


def weights(sizes: Sizes) -> Arg:
    """W (d, c), or (d + 1, c) with bias."""
    shape = sizes.rows, sizes.c
    other = "float32" if sizes.dtype == "float64" else "float64"
    # Two more or fewer rows, another number of dimensions, no class: nothing that fits with or without a bias.
    shapes = st.sampled_from(
        [(sizes.rows + 2, sizes.c), (sizes.rows, 0), (), (sizes.rows,), (1, *shape), (sizes.rows, sizes.c, 1)]
    )
    return array(
        shape,
        [sizes.dtype],
        strange=[other],
        wrong=("float16", "int64", "bool", "uint8", *NO_FEATURES),
        bad_shapes=shapes,
        swaps=False,
    )


def narrower(sizes: Sizes) -> list[str]:
    """The dtypes of X that W's can hold."""
    found = [sizes.dtype] * 4
    if sizes.backend != "numba" or LONG:
        found += ["float16", "float32", "uint8"]
    return [*found, "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]


FILLS = ("normal", "normal", "zeros", "integers", "one:100.0", "times:30.0")


def dense_features(sizes: Sizes) -> Arg:
    """X (n, d), an array."""
    shape = sizes.n, sizes.d
    shapes = st.sampled_from([(sizes.n, sizes.d + 2), (), (sizes.n,), (*shape, 1), (2, *shape)])
    return array(shape, narrower(sizes), FILLS, bad_shapes=shapes, wrong=(*NO_FEATURES, *_wider(sizes)))


def features(sizes: Sizes) -> Arg:
    """X (n, d), or sparse rows."""
    found = dense_features(sizes)
    if sizes.backend == "numba" and not LONG:
        return found
    shape = sizes.n, sizes.d
    rows, kinds = arrays(shape, narrower(sizes), FILLS, st.just("C")), st.sampled_from(["int32", "int64"])
    sparse, broken = st.builds(Sparse, rows, kinds), st.builds(Sparse, rows, kinds, st.sampled_from([*DAMAGES]))
    return Arg(st.one_of(found.good, found.good, sparse), found.odd, st.one_of(found.bad, found.bad, broken), False)


def _wider(sizes: Sizes) -> list[str]:
    return ["float64"] * 3 if sizes.dtype == "float32" else []


LABEL_DTYPES = ("int64", "int64", "int32", "uint8", "int8", "uint16", "uint64", "int16", "uint32")


def labels(sizes: Sizes) -> Arg:
    """y (n,), integers in [0, c)."""
    n, c = sizes.n, sizes.c
    dtypes = [name for name in LABEL_DTYPES if np.iinfo(name).max >= c]
    good = array((n,), dtypes, [f"labels:{c}"], wrong=("float64", "float32", *NO_NUMBERS))
    bad = [good.bad, other_shapes((n,)).flatmap(lambda shape: arrays(shape, ["int64"], ["zeros"]))]
    if n:
        beyond = st.sampled_from([-1, c, c + 1, 2**31, 2**32, 2**40, -(2**63), 2**63 - 1])
        bad += [beyond.flatmap(lambda value: arrays((n,), ["int64"], [f"one:{c}:{value}"]))] * 3
        if c > 2:
            bad.append(arrays((n,), ["bool"], ["labels:2"]))
    odd = st.one_of(
        good.good, arrays((n,), dtypes, [f"labels:{c}"], st.sampled_from(UNUSUAL).filter(lambda name: name != "masked"))
    )
    return Arg(good.good, odd, _numbers_only(st.one_of(*bad), n), False)


def _numbers_only(strategy: Drawn, n: int) -> Drawn:
    """Without the empty ones, which have no wrong number in them."""
    return strategy if n else strategy.filter(lambda value: not isinstance(value, A) or 0 not in value.shape)


def ignored() -> Arg:
    """A label that marks rows to leave out: that of no row, or of some."""
    wrong = [1.5, "1", b"1", True, math.nan, (), [], {}, A((1,), "int64"), *_things()]
    return Arg(st.sampled_from([None, -100, 2**40, np.int64(-5), -(2**70)]), st.integers(0, 3), st.sampled_from(wrong))


def targets(sizes: Sizes, interval: str) -> Arg:
    """y (n, c) of numbers in an interval, labels (n,) if c > 1, or numbers (n,) if c = 1."""
    n, c = sizes.n, sizes.c
    unit = interval == "[0, 1]"
    fills = ["unit", "zeros", "ones"] if unit else ["normal", "unit", "integers", "times:5.0"]
    good = [arrays((n, c), ["float64", "float32", "float16"], fills)]
    good.append(arrays((n, c), ["int64", "bool", "uint8"], ["labels:2"]))
    good.append(arrays((n,), ["int64", "int32"], [f"labels:{c}"]) if c > 1 else arrays((n,), [*FLOATS], fills))
    shapes = st.sampled_from([(n + 2, c), (n, c + 1), (n, c, 1), ()]).filter(lambda shape: shape != (n, c))
    bad = [shapes.flatmap(lambda shape: arrays(shape, ["float64"], ["ones"])), arrays((n, c), NO_NUMBERS, ["normal"])]
    bad.append(st.sampled_from(_no_arrays()))
    if n and unit:
        bad.append(arrays((n, c), ["float64"], ["one:7.0", "one:-3.0", "one:inf"]))
    if n and c > 1:
        bad.append(arrays((n,), ["int64"], [f"one:{c}:{c}", f"one:{c}:-1"]))
    odd = arrays((n, c), [*FLOATS], [*fills, "extreme", "one:nan", "times:1e30"], st.sampled_from([*LAYOUTS]))
    return Arg(st.one_of(*good), odd, _numbers_only(st.one_of(*bad), n), False)


def row_weights(sizes: Sizes) -> Arg:
    """sample_weight (n,), or None."""
    dtypes = ["float64", "float32", "float16", "int64", "uint8", "bool"]
    found = array((sizes.n,), dtypes, ["positive", "unit", "ones", "zeros"], bad_shapes=other_shapes((sizes.n,)))
    return _or_none(found)


def _or_none(found: Arg) -> Arg:
    bad = None if found.bad is None else found.bad.filter(lambda value: value is not None)
    return Arg(st.one_of(st.none(), found.good), found.odd, bad)


def column_map(sizes: Sizes) -> Arg:
    """x_scale or x_shift: None, a finite number or (d,)."""
    d = sizes.d
    column = arrays((d,), ["float64", "float32", "int64", "float16"], ["normal", "ones", "unit", "zeros"])
    good = st.one_of(st.none(), column, column, st.sampled_from([0.5, 1 / 255, -2.0, 0, 3]))
    shapes = (
        other_shapes((d,)).filter(lambda shape: shape != ()).flatmap(lambda shape: arrays(shape, ["float64"], ["ones"]))
    )
    wrong = [
        math.nan,
        math.inf,
        "abc",
        b"1",
        1j,
        {},
        True,
        *(Odd(name) for name in ("object", "function", "ragged", "set")),
    ]
    bad = [shapes, arrays((d,), NO_NUMBERS, ["normal"]), st.sampled_from(wrong)]
    if d:
        bad.append(arrays((d,), ["float64"], ["one:nan", "one:inf"]))
    if sizes.dtype == "float32":
        bad.append(st.sampled_from([1e300, -1e39]))
    odd = st.one_of(
        arrays((d,), [*FLOATS], ["normal", "times:1e-42", "times:1e30"], st.sampled_from([*LAYOUTS])), st.just(10**30)
    )
    return Arg(good, odd, st.one_of(*bad))


def out(sizes: Sizes) -> Arg:
    """An array like W to write to."""
    shape = sizes.rows, sizes.c
    writeable = st.sampled_from([*PLAIN, "unaligned", "memmap"])
    good = st.one_of(arrays(shape, [sizes.dtype], ["normal", "one:nan"], writeable), st.none())
    other = "float32" if sizes.dtype == "float64" else "float64"
    bad = [
        arrays(shape, [other, "int64", "object", "complex128", swapped(other)], ["zeros"]),
        st.sampled_from([[[0.0]], "abc", 3.0, (), {}, *_things()]),
        other_shapes(shape).flatmap(lambda wrong: arrays(wrong, [sizes.dtype], ["zeros"])),
    ]
    if shape[0]:
        bad.append(st.sampled_from([Shares("W", shape), Shares("W", shape, "reversed")]))
        bad.append(arrays(shape, [sizes.dtype], ["zeros"], st.just("read-only")))
    if shape[0] > 1:
        bad.append(arrays(shape, [sizes.dtype], ["zeros"], st.just("one row")))
    return Arg(good, arrays(shape, [sizes.dtype], ["zeros"], st.sampled_from(["subclass", "matrix"])), st.one_of(*bad))


def penalty() -> Arg:
    """reg: a number, a penalty of ours, or somebody's own."""
    plain = number("[0, inf)", usual=(0.0, 0.0, 1e-3))
    made = st.sampled_from(
        [Make("L1", (("lam", 0.1),)), Make("L2", (("lam", 0.5),)), Make("ElasticNet", (("lam", 0.1), ("beta", 0.5)))]
    )
    names = [name for name in oddities.PENALTIES if name != "penalty none"]
    bad = st.one_of(plain.bad, st.sampled_from([Odd(name) for name in names]))
    return Arg(st.one_of(plain.good, made, st.just(Odd("penalty none"))), plain.odd, bad)


def bias(sizes: Sizes) -> Arg:
    """Whether W has a row for b; what is neither True nor False comes with a W that has as many rows more."""
    plain = flag(st.just(sizes.bias))
    several = st.integers(2, 9).map(lambda k: Together({"bias": k, "W": A((sizes.d + k, sizes.c), sizes.dtype)}))
    return Arg(plain.good, plain.odd, st.one_of(plain.bad, several), False)


@lru_cache(maxsize=4096)
def _arguments(make: Callable[[Any], Mapping[str, Arg]], sizes: Sizes) -> Mapping[str, Arg]:
    """Strategies are slow to build, and quick to draw from."""
    return make(sizes)


@st.composite
def calls(draw: Any, name: str, make: Callable[[Any], Mapping[str, Arg]], shapes: Drawn) -> Call:
    """A call: mostly good arguments, one or two of the others, so that deep paths are reached."""
    arguments = _arguments(make, draw(all_sizes(shapes)))
    strange = [which for which, arg in arguments.items() if arg.odd is not None or arg.bad is not None]
    many = draw(st.sampled_from([0, 0, 0, 1, 1, 1, 1, 2]))
    chosen = draw(st.permutations(strange))[:many] if strange else []
    given: dict[str, Any] = {}
    marks: dict[str, set[str]] = {"bad": set(), "odd": set()}
    for which, arg in arguments.items():
        if which in chosen:
            kinds = [kind for kind in ("odd", "bad") if getattr(arg, kind) is not None]
            kind = draw(st.sampled_from([*kinds, kinds[-1]]))
            given[which] = draw(getattr(arg, kind))
            marks[kind].add(which)
        elif not arg.optional or draw(st.booleans()):
            given[which] = draw(arg.good)
    return Call(name, _merged(given, chosen), frozenset(marks["bad"]), frozenset(marks["odd"]))


def _merged(given: Mapping[str, Any], chosen: Sequence[str]) -> dict[str, Any]:
    """The values that were drawn together, in the places of good ones; what is chosen to be strange stays."""
    together = {name: value for name, value in given.items() if isinstance(value, Together)}
    found = {name: value for name, value in given.items() if name not in together}
    for name, several in together.items():
        if name not in chosen:
            found = dict(several.values) | found
    for name, several in together.items():
        if name in chosen:
            found |= several.values
    return found
