"""Expressions that work row by row: the check behind `filter`, `select` and `with_columns`.

A batch may be cut anywhere, so an expression on a stream must give a row the same result whatever
the other rows are. polars' own check lets `x - x.mean()` and `x.drop_nulls()` pass; this one walks
every node of the tree and takes only those that are known to look at one row.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import polars as pl

from .errors import ExpressionError

__all__ = [
    "Tree",
    "check_row_wise",
    "columns_of",
    "expression_of",
    "function_of",
    "method_of",
    "output_name",
    "split_node",
    "tree_of",
    "uses_selector",
    "without_company",
]

Tree: TypeAlias = Any
"""A node of an expression as JSON: its name, or `{name: payload}`."""

_GROUPS = ("BinaryExpr", "Business", "Pow", "StructExpr", "Trigonometry")
_NESTED = {
    "BinaryExpr": "bin", "Boolean": "", "Bitwise": "bitwise", "Business": "dt", "Pow": "",
    "Categorical": "cat", "ListExpr": "list", "ArrayExpr": "arr", "StringExpr": "str",
    "StructExpr": "struct", "TemporalExpr": "dt", "Trigonometry": "", "Range": "pl",
    "RollingExpr": "rolling", "RollingExprBy": "rolling", "Random": "", "Extension": "ext",
}  # fmt: skip


def _names(table: dict[str, str]) -> frozenset[str]:
    """`{"ListExpr": "Sum Max", "": "Abs"}` as full names."""
    return frozenset(
        f"{group}.{word}" if group else word
        for group, words in table.items()
        for word in words.split()
    )


_ROW_WISE = _names(
    {
        "": """
            Abs AsStruct Atan2 Ceil Clip Coalesce Cut Erf Erfc Exp FillNull Floor Hash Log Log1p
            MaxHorizontal MeanHorizontal MinHorizontal Negate Reinterpret RepeatBy Replace
            ReplaceStrict Round RoundSF Sign SumHorizontal Truncate""",
        "ArrayExpr": """
            ArgMax ArgMin Concat Contains CountMatches Dot Get Join Length Max Mean Median Min Shift
            Sort Std Sum ToList ToStruct Var""",
        "Bitwise": """
            CountOnes CountZeros LeadingOnes LeadingZeros TrailingOnes TrailingZeros""",
        "Boolean": """
            AllHorizontal AnyHorizontal IsBetween IsClose IsFinite IsIn IsInfinite IsNan IsNotNan
            IsNotNull IsNull Not""",
        "Categorical": "EndsWith LenBytes LenChars Slice StartsWith To",
        "ListExpr": """
            ArgMax ArgMin Concat Contains CountMatches Diff DropNulls Gather GatherEvery Get Join
            Length Max Mean Median Min SetOperation Shift Slice Sort Std Sum ToArray ToStruct
            Var""",
        "Range": "DateRanges DatetimeRanges IntRanges LinearSpaces TimeRanges",
        "StringExpr": """
            Base64Decode Base64Encode ConcatHorizontal Contains ContainsAny CountMatches EndsWith
            EscapeRegex Extract ExtractAll ExtractGroups ExtractMany Find FindMany Format Head
            HexDecode HexEncode JsonDecode JsonPathMatch LenBytes LenChars Lowercase Normalize
            PadEnd PadStart Replace ReplaceMany Reverse Slice Split SplitExact SplitN SplitRegex
            StartsWith StripChars StripCharsEnd StripCharsStart StripPrefix StripSuffix Strptime
            Tail Titlecase ToDecimal ToInteger Uppercase ZFill""",
        "TemporalExpr": """
            BaseUtcOffset CastTimeUnit Century Combine ConvertTimeZone DSTOffset Date
            DatetimeFunction Day DaysInMonth Duration Hour IsLeapYear IsoYear Microsecond Millennium
            Millisecond Minute Month MonthEnd MonthStart Nanosecond OffsetBy OrdinalDay Quarter
            Replace ReplaceTimeZone Round Second Time TimeStamp ToString TotalDays TotalHours
            TotalMicroseconds TotalMilliseconds TotalMinutes TotalNanoseconds TotalSeconds Truncate
            Week WeekDay Year""",
    }
)

# What may stand inside `.list.eval(...)`: it sees one row's list, in order.
_INSIDE_LIST = _names(
    {
        "": """
            ArgMax ArgMin ArgSort CumCount CumMax CumMin CumProd CumSum Diff DropNans DropNulls
            Entropy FillNullWithStrategy Interpolate Kurtosis NullCount PctChange Product Quantile
            Reverse Shift Skew""",
        "Bitwise": "And Or Xor",
        "Boolean": """
            All Any HasNulls IsDuplicated IsFirstDistinct IsLastDistinct IsSorted IsUnique""",
    }
)
_NODES_INSIDE_LIST = frozenset({"Agg", "Element", "Filter", "Gather", "Len", "Slice", "Sort"})

_CHILDREN: dict[str, Callable[[Any], list[Tree]]] = {
    "Alias": lambda node: [node[0]],
    "BinaryExpr": lambda node: [node["left"], node["right"]],
    "Cast": lambda node: [node["expr"]],
    "Column": lambda node: [],
    "Field": lambda node: [],
    "Function": lambda node: list(node["input"]),
    "KeepName": lambda node: [node],
    "RenameAlias": lambda node: [node["expr"]],
    "Selector": lambda node: [],
    "StructEval": lambda node: [node["expr"], *node["evaluation"]],
    "Ternary": lambda node: [node["predicate"], node["truthy"], node["falsy"]],
}

_WORDS = {
    "Agg.Count": "count()", "Agg.FirstNonNull": "first()", "Agg.LastNonNull": "last()",
    "Agg.NUnique": "n_unique()", "ArgWhere": "arg_true()", "ApproxNUnique": "approx_n_unique()",
    "AnonymousFunction": "map_elements()", "Bin": "bin_intervals()", "Len": "pl.len()",
    "QCut": "qcut()", "RLE": "rle()", "RLEID": "rle_id()", "Slice": "slice() or head()",
    "StringExpr.ConcatVertical": "str.join()", "Correlation": "pl.corr()",
    "Element": "pl.element()", "SetSortedFlag": "set_sorted()",
    "Random.Shuffle": "shuffle()", "Random.Sample": "sample()",
}  # fmt: skip
_RESIZING = _names(
    {
        "": """
            Append ArgWhere DropNans DropNulls Explode ExtendConstant Gather GatherEvery Mode RLE
            Repeat Reshape Slice Sort SortBy TopK TopKBy UniqueCounts ValueCounts""",
        "ArrayExpr": "Explode",
        "Range": "DateRange DatetimeRange IntRange LinearSpace TimeRange",
    }
)
_ORDERED = _names(
    {
        "": """
            ArgSort CumCount CumMax CumMin CumProd CumSum CumulativeEval Diff EwmMean EwmMeanBy
            EwmStd EwmSum EwmSumBy EwmVar FillNullWithStrategy Interpolate InterpolateBy PctChange
            PeakMax PeakMin QCut RLEID Rank Reverse Rolling Shift""",
        "Boolean": "IsDuplicated IsFirstDistinct IsLastDistinct IsUnique",
    }
)
_AGGREGATES = _names(
    {
        "": """
            ApproxNUnique ApproxQuantile ArgMax ArgMin Correlation Entropy Hist Kurtosis Len MaxBy
            MinBy NullCount Product Quantile Skew""",
        "Bitwise": "And Or Xor",
        "Boolean": "All Any HasNulls IsEmpty IsSorted",
        "StringExpr": "ConcatVertical",
    }
)
_PLAIN_OPERATIONS = frozenset(
    {"Plus", "Minus", "Multiply", "Eq", "NotEq", "Lt", "LtEq", "Gt", "GtEq", "EqValidity"}
    | {"NotEqValidity", "And", "Or", "Xor", "LogicalAnd", "LogicalOr"}
)
_PLAIN = frozenset(
    {"Abs", "AsStruct", "Ceil", "Clip", "Coalesce", "FillNull", "Floor", "Negate", "Round"}
)
_PLAIN_GROUPS = frozenset({"Boolean", "StringExpr"})
_PYTHON = (
    "it calls a Python function, which cannot be checked or shipped; "
    "write a row function (`@flow.operator` on an event class) or map the stream instead"
)
_AGGREGATE = "looks at more than one row; aggregate in `.window(...).agg(...)` instead"


def tree_of(expr: pl.Expr) -> Tree:
    """The expression as JSON; raises `ExpressionError` if it holds a Python function."""
    if not isinstance(expr, pl.Expr):
        raise ExpressionError(
            f"expected a polars expression such as pl.col('x') > 3, found {type(expr).__name__}"
        )
    try:
        tree = json.loads(expr.meta.serialize(format="json"))
    except pl.exceptions.ComputeError as error:
        reason = _PYTHON if "python" in str(error).lower() else f"polars says: {error}"
        raise ExpressionError(f"`{expr}` cannot be used on a stream: {reason}") from error
    except RecursionError as error:
        raise ExpressionError("the expression is nested too deeply; split it up") from error
    if any(name == "AnonymousFunction" for name, _ in _nodes(tree)):
        raise ExpressionError(f"`{expr}` cannot be used on a stream: {_PYTHON}")
    return tree


def expression_of(tree: Tree) -> pl.Expr | None:
    """The expression that a tree describes; None where JSON cannot say it (NaN, infinity)."""
    try:
        return pl.Expr.deserialize(io.StringIO(json.dumps(tree)), format="json")
    except pl.exceptions.ComputeError:
        return None


def check_row_wise(expr: pl.Expr) -> None:
    """Raise `ExpressionError`, naming the offending call, unless every node looks at one row."""
    _check(tree_of(expr), inside_list=False)


def without_company(expr: pl.Expr) -> bool:
    """Whether polars surely computes the same for a row alone as for a row among others.

    It does for what is listed here: it neither divides nor takes powers by a constant.
    """
    return _plain(tree_of(expr))


def _plain(tree: Tree) -> bool:
    stack = [tree]
    while stack:
        node = stack.pop()
        name, payload = split_node(node)
        if name == "BinaryExpr" and payload["op"] not in _PLAIN_OPERATIONS:
            return False
        if name == "Function":
            function = function_of(payload["function"])[0]
            if function not in _PLAIN and function.partition(".")[0] not in _PLAIN_GROUPS:
                return False
            stack.extend(payload["input"])
        elif name in ("BinaryExpr", "Alias", "Cast", "Ternary"):
            stack.extend(_CHILDREN[name](payload))
        elif name not in ("Column", "Literal"):
            return False
    return True


def columns_of(expr: pl.Expr) -> frozenset[str]:
    """The columns that the expression reads by name; patterns and types name none."""
    found: set[str] = set()
    for name, payload in _nodes(tree_of(expr)):
        if name == "Column" and payload:
            found.add(payload)
        elif name == "ByName":
            found.update(payload["names"] if payload["strict"] else ())
    return frozenset(found)


def uses_selector(expr: pl.Expr) -> bool:
    """Whether the expression may stand for several columns, such as `pl.all()`."""
    names = {name for name, _ in _nodes(tree_of(expr))}
    return not names.isdisjoint({"Selector", "SelectFields"})


def output_name(expr: pl.Expr) -> str:
    """The name of the column it gives; raises `ExpressionError` if there may be several."""
    if uses_selector(expr):
        raise ExpressionError(f"`{expr}` may give several columns; name them one by one")
    try:
        return expr.meta.output_name()
    except pl.exceptions.PolarsError as error:
        raise ExpressionError(f"`{expr}` has no name; add .alias('name')") from error


def split_node(node: Tree) -> tuple[str, Any]:
    """A node's name and payload."""
    if isinstance(node, str):
        return node, None
    if isinstance(node, dict) and len(node) == 1:
        return next(iter(node.items()))
    raise ExpressionError("polars describes this expression in an unknown way; update Headwater")


def function_of(function: Tree) -> tuple[str, Any]:
    """A function's full name, such as `StringExpr.Split`, and its parameters."""
    name, parameters = split_node(function)
    if name == "Random":
        return f"Random.{split_node(parameters['method'])[0]}", parameters
    if name in ("RollingExpr", "RollingExprBy"):
        return "Rolling", parameters
    if name in _NESTED:
        inner, parameters = split_node(parameters)
        return f"{name}.{inner}", parameters
    return name, parameters


def method_of(name: str) -> str:
    """What a user calls it: `Agg.Mean` is `mean()`, `StringExpr.Split` is `str.split()`."""
    if name in _WORDS:
        return _WORDS[name]
    group, _, last = name.rpartition(".")
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last).lower()
    space = _NESTED.get(group, "")
    if space == "bitwise":
        return f"bitwise_{word}()"
    return f"{space}.{word}()" if space else f"{word}()"


def _nodes(tree: Tree) -> Iterator[tuple[str, Any]]:
    """Every `{name: payload}` and bare name in the tree; literals are not entered."""
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            for name, payload in item.items():
                yield name, payload
                if name != "Literal" and isinstance(payload, dict | list):
                    stack.append(payload)
        elif isinstance(item, list):
            stack.extend(part for part in item if isinstance(part, dict | list))


def _check(tree: Tree, *, inside_list: bool) -> None:
    stack = [(tree, inside_list)]
    while stack:
        node, inside = stack.pop()
        name, payload = split_node(node)
        if name == "Literal":
            _check_literal(payload)
        elif name == "Function":
            stack.extend((child, inside) for child in _arguments(payload, inside))
        elif name == "Eval":
            if isinstance(payload["variant"], dict) and "Cumulative" in payload["variant"]:
                raise _refusal_of("CumulativeEval", payload)
            stack += [(payload["expr"], inside), (payload["evaluation"], True)]
        elif name in _CHILDREN:
            stack.extend((child, inside) for child in _CHILDREN[name](payload))
        elif inside and name in _NODES_INSIDE_LIST:
            stack.extend((child, True) for child in _children_inside(name, payload))
        elif not _constant(node):
            raise _refusal_of(name, payload)


def _arguments(payload: Any, inside: bool) -> list[Tree]:
    """The inputs of a function that still have to be checked."""
    name, parameters = function_of(payload["function"])
    inputs: list[Tree] = list(payload["input"])
    if name == "FillNullWithStrategy" and parameters in ("Zero", "One"):
        return inputs
    if inside and (name in _INSIDE_LIST or _deterministic(name, parameters)):
        return inputs
    if name not in _ROW_WISE and name.partition(".")[0] not in _GROUPS:
        raise _refusal_of(name, parameters)
    if name == "StringExpr.Strptime" and parameters[1]["format"] is None:
        raise _refused(name, "guesses the format from the rows it sees; give format=...")
    if name.startswith("Business."):
        return inputs[:-1]  # the last is the list of holidays
    if name == "Boolean.IsIn":
        return [inputs[0], *_sets(name, inputs[1:])]
    if name in ("Replace", "ReplaceStrict"):
        return [inputs[0], *_sets(name, inputs[1:3]), *inputs[3:]]
    return inputs


def _deterministic(name: str, parameters: Any) -> bool:
    if name == "Unique":
        return parameters is True
    return name == "Rank" and parameters["options"]["method"] != "Random"


def _sets(name: str, inputs: list[Tree]) -> list[Tree]:
    """The arguments that name a set of values: constants, or lists made within the row."""
    rest = []
    for node in inputs:
        kind, payload = split_node(node)
        if kind == "Cast":
            kind, payload = split_node(payload["expr"])
        if kind == "Literal" or _constant(node):
            continue
        listed = kind == "Function" and function_of(payload["function"])[0].startswith("ListExpr.")
        if not listed and kind != "Eval":
            raise _refused(
                name, "with a column looks at all rows; give the values as a list, or for a list "
                "column use pl.col('that').list.contains(...)"
            )  # fmt: skip
        rest.append(node)
    return rest


def _constant(node: Tree) -> bool:
    """Whether the node is the implode of a literal: the same for every row."""
    name, payload = split_node(node)
    if name != "Agg":
        return False
    kind, inner = split_node(payload)
    return kind == "Implode" and split_node(inner["input"])[0] == "Literal"


def _check_literal(payload: Any) -> None:
    if isinstance(payload, dict) and ("Series" in payload or "Range" in payload):
        raise ExpressionError(
            "a Series has no place on a stream, whose batches have any length; use pl.lit(value), "
            "join it as a table, or use is_in(...) or replace(...)"
        )


def _children_inside(name: str, payload: Any) -> list[Tree]:
    if name == "Agg":
        _, inner = split_node(payload)
        if isinstance(inner, list):
            return [inner[0]]
        return [inner["input"] if isinstance(inner, dict) and "input" in inner else inner]
    if name in ("Element", "Len"):
        return []
    keys = ("input", "by", "expr", "idx", "offset", "length")
    return [payload[key] for key in keys if key in payload]


def _refusal_of(name: str, payload: Any) -> ExpressionError:
    """Why this node is not taken, in the user's words, and what to do instead."""
    if name == "Agg":
        return _refused(f"Agg.{split_node(payload)[0]}", _AGGREGATE)
    if name == "Over":
        return _refused(name, "looks at the group's other rows; use .key_by(...).window(...)")
    if name.startswith("Random.") or name == "ListExpr.Sample":
        return _refused(name, "gives another result each time, so a replay would differ")
    if name == "Filter" or name in ("DropNulls", "DropNans"):
        return _refused(name, "drops rows; use the stream's own .filter(...) instead")
    if name in _RESIZING:
        return _refused(name, "does not give one row for each row; use a row function that yields")
    if name in _ORDERED or name == "Rolling":
        return _refused(name, "depends on other rows; use a window or a row function with hw.State")
    if name == "Unique":
        return _refused(name, "keeps no order; use unique(maintain_order=True)")
    if name in _AGGREGATES:
        return _refused(name, _AGGREGATE)
    if name in ("ToPhysical", "Categorical.Physical"):
        return _refused(name, "depends on the order in which categories were seen; cast instead")
    return _refused(name, "is not known to work row by row; use a row function instead")


def _refused(name: str, why: str) -> ExpressionError:
    return ExpressionError(f"`{method_of(name)}` {why}")
