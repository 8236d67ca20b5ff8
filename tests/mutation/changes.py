"""Small changes to the rules' code that a test ought to notice.

A mutant is one change at one place: a comparison turned or shifted by its edge, a condition forced
either way, an operand, argument, case or statement left out, a number off by one, another member
of the same enumeration, nothing returned. Docstrings, annotations, the texts of errors, decorators
(the sizes of caches) and class keywords (how structs are laid out) are left as they are.
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

KEY_LENGTH_MAX = 70
"""How much of the code around a change a mutant is named by, in letters."""

TURNED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OTHER: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
TYPED = ("facts", "request")
"""Arguments that nothing else has the type of: exchanged, they are found by the type checker."""

CALLED = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}

Slot = tuple[ast.AST, str, int | None]
"""Where a node hangs: its parent, the field there, and its place where that is a list."""


@dataclass
class Mutant:
    """One change; `line` is for the reader, the rest names it wherever the code moves to."""

    module: str
    function: str
    line: int
    old: str
    new: str
    ordinal: int
    inside: bool
    """Whether it lies in the body of a function, so that the code of that can be exchanged."""
    span: tuple[int, int]
    tree: ast.Module = field(repr=False)
    slot: Slot = field(repr=False)
    replacement: ast.AST | None = field(repr=False)

    @property
    def text(self) -> str:
        """What changes, as the explanations name it."""
        times = f" ({self.ordinal})" if self.ordinal > 1 else ""
        return f"{self.old} → {self.new}{times}"

    @property
    def key(self) -> str:
        """The name of the mutant, stable as long as its function says the same."""
        return f"{self.module}:{self.function}: {self.text}"

    def apply(self) -> ast.Module:
        """The module's tree with the change in it, for good."""
        _put(self.slot, self.replacement)
        return ast.fix_missing_locations(self.tree)


def mutants_of(module: str, source: str, members: Mapping[str, list[str]]) -> list[Mutant]:
    """All mutants of a module in the order of its text; `members` are those of each enumeration."""
    tree = ast.parse(source)
    return _Finder(module, tree, members).found()


def members_of(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """The members of every enumeration that these modules define."""
    return {
        node.name: [t.id for n in node.body for t in _targets(n)]
        for source in sources.values()
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef)
        if any(isinstance(base, ast.Name) and base.id == "StrEnum" for base in node.bases)
    }


def _targets(node: ast.stmt) -> list[ast.Name]:
    return (
        [t for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign) else []
    )


class _Finder:
    """Walks a module's tree and collects what can be changed in it."""

    def __init__(self, module: str, tree: ast.Module, members: Mapping[str, list[str]]) -> None:
        self._module = module
        self._tree = tree
        self._members = members
        self._above: list[ast.AST] = []
        self._names: list[str] = []
        self._bodies = 0
        self._seen: Counter[str] = Counter()
        self._mutants: list[Mutant] = []

    def found(self) -> list[Mutant]:
        for place, node in enumerate(self._tree.body):
            self._walk(node, (self._tree, "body", place))
        return self._mutants

    def _walk(self, node: ast.AST, slot: Slot) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise) or _is_text(node):
            if isinstance(node, ast.Raise):
                self._note(node, slot, ast.Pass())
            return
        for replacement in self._changes(node, slot):
            self._note(node, slot, replacement)
        self._above.append(node)
        if isinstance(node, ast.FunctionDef):
            self._function(node)
        elif isinstance(node, ast.ClassDef):
            self._names.append(node.name)
            self._fields(node, ("body",))
            self._names.pop()
        elif isinstance(node, ast.AnnAssign):
            self._limits(node)
            self._fields(node, ("value",))
        elif isinstance(node, ast.Assign) and _is_alias(node):
            pass
        else:
            self._fields(node, node._fields)
        self._above.pop()

    def _function(self, node: ast.FunctionDef) -> None:
        outermost = not self._bodies
        if outermost:
            self._names.append(node.name)
        self._fields(node.args, ("defaults", "kw_defaults"))
        self._bodies += 1
        self._fields(node, ("body",))
        self._bodies -= 1
        if outermost:
            self._names.pop()

    def _limits(self, node: ast.AnnAssign) -> None:
        """What a field's annotation demands of its value: `Meta(ge=1)`."""
        for call in ast.walk(node.annotation):
            if isinstance(call, ast.Call):
                self._above.append(call)
                self._fields(call, ("keywords",))
                self._above.pop()

    def _fields(self, node: ast.AST, names: tuple[str, ...]) -> None:
        for name in names:
            value = getattr(node, name)
            if isinstance(value, list):
                for place, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        self._walk(item, (node, name, place))
            elif isinstance(value, ast.AST):
                self._walk(value, (node, name, None))

    def _changes(self, node: ast.AST, slot: Slot) -> Iterator[ast.AST | None]:
        change = CHANGES.get(type(node))
        if change is not None:
            yield from change(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = self._members.get(node.value.id, [])
            if node.attr in names and len(names) > 1:
                other = names[(names.index(node.attr) + 1) % len(names)]
                yield ast.Attribute(value=node.value, attr=other, ctx=node.ctx)
        if isinstance(node, ast.stmt):
            yield from self._left_out(node, slot)
        if isinstance(node, ast.match_case):
            yield None

    def _left_out(self, node: ast.stmt, slot: Slot) -> Iterator[ast.AST]:
        parent, name, _ = slot
        block = getattr(parent, name)
        alone = isinstance(parent, ast.If) and name == "body" and len(block) == 1
        if isinstance(node, ast.Expr | ast.AugAssign | ast.Continue | ast.Break) and not alone:
            yield ast.Pass()
        if isinstance(node, ast.Return) and isinstance(parent, ast.If | ast.For) and not alone:
            yield ast.Pass()

    def _note(self, node: ast.AST, slot: Slot, replacement: ast.AST | None) -> None:
        if isinstance(node, ast.AugAssign | ast.Expr | ast.stmt):
            statement: ast.AST = node
        else:
            statement = next(
                (n for n in reversed(self._above) if isinstance(n, ast.stmt | ast.match_case)), node
            )
        shown = self._shown(node)
        old = _unparsed(shown)
        if shown is node:
            new = "nothing" if replacement is None else _unparsed(replacement)
        else:
            _put(slot, replacement)
            new = _unparsed(shown)
            _put(slot, node, undo=replacement is None)
        function = ".".join(self._names) or "module"
        self._seen[f"{function}: {old} → {new}"] += 1
        first, last = _header(statement)
        self._mutants.append(
            Mutant(
                module=self._module,
                function=function,
                line=getattr(node, "lineno", first),
                old=old,
                new=new,
                ordinal=self._seen[f"{function}: {old} → {new}"],
                # Code that says super() needs its class around it to be made anew.
                inside=self._bodies > 0 and "super()" not in old,
                span=(first, last),
                tree=self._tree,
                slot=slot,
                replacement=replacement,
            )
        )

    def _shown(self, node: ast.AST) -> ast.AST:
        """As much around a change as names it well and is not too long."""
        shown = node
        for above in reversed(self._above):
            if isinstance(above, ast.FunctionDef | ast.ClassDef | ast.Module | ast.For | ast.Match):
                break
            if (
                isinstance(above, ast.If | ast.While | ast.match_case)
                or len(_unparsed(above)) > KEY_LENGTH_MAX
            ):
                break
            shown = above
        return shown


def _put(slot: Slot, node: ast.AST | None, *, undo: bool = False) -> None:
    """Hang a node into its place; None takes an item out of its list, `undo` puts it back."""
    parent, name, place = slot
    if place is None:
        setattr(parent, name, node)
        return
    items = getattr(parent, name)
    if node is None:
        del items[place]
    elif undo:
        items.insert(place, node)
    else:
        items[place] = node


def _unparsed(node: ast.AST) -> str:
    if isinstance(node, ast.match_case):
        guard = f" if {ast.unparse(node.guard)}" if node.guard is not None else ""
        return f"case {ast.unparse(node.pattern)}{guard}"
    if isinstance(node, ast.If | ast.While):
        return f"{type(node).__name__.lower()} {ast.unparse(node.test)}"
    return " ".join(ast.unparse(node).split())


def _header(node: ast.AST) -> tuple[int, int]:
    """The lines of a statement without the blocks in it."""
    if isinstance(node, ast.match_case):
        # A case that is left out is missed where its pattern is tried, or later ones are.
        return node.pattern.lineno, node.body[-1].end_lineno or node.pattern.lineno
    if isinstance(node, ast.Match):
        return node.lineno, node.end_lineno or node.lineno
    body = getattr(node, "body", None)
    first: int = getattr(node, "lineno", 1)
    last: int = getattr(node, "end_lineno", None) or first
    if isinstance(body, list) and body:
        return first, max(first, body[0].lineno - 1)
    return first, last


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_alias(node: ast.Assign) -> bool:
    """Whether it gives a type a name: `Happening = Granted | Denied`."""
    value = node.value
    if isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name):
        return value.value.id in ("tuple", "Callable", "dict", "list")
    return isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr)


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    for place, op in enumerate(node.ops):
        for other in TURNED[type(op)]:
            ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
            yield ast.Compare(left=node.left, ops=ops, comparators=node.comparators)


def _bool_op(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(op=ast.Or() if isinstance(node.op, ast.And) else ast.And(), values=node.values)
    for place in range(len(node.values)):
        kept = [*node.values[:place], *node.values[place + 1 :]]
        yield kept[0] if len(kept) == 1 else ast.BoolOp(op=node.op, values=kept)


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    yield node.operand


def _binary(node: ast.BinOp) -> Iterator[ast.AST]:
    if type(node.op) in OTHER:
        yield ast.BinOp(left=node.left, op=OTHER[type(node.op)](), right=node.right)


def _augmented(node: ast.AugAssign) -> Iterator[ast.AST]:
    if type(node.op) in OTHER:
        yield ast.AugAssign(target=node.target, op=OTHER[type(node.op)](), value=node.value)


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        yield ast.Constant(value - 1)
    elif isinstance(value, str):
        yield ast.Constant(f"{value}X")


def _if_exp(node: ast.IfExp) -> Iterator[ast.AST]:
    yield node.body
    yield node.orelse


def _if(node: ast.If) -> Iterator[ast.AST]:
    for value in (True, False):
        yield ast.If(test=ast.Constant(value), body=node.body, orelse=node.orelse)


def _while(node: ast.While) -> Iterator[ast.AST]:
    yield ast.While(test=ast.Constant(value=False), body=node.body, orelse=node.orelse)


def _comprehension(node: ast.comprehension) -> Iterator[ast.AST]:
    for place in range(len(node.ifs)):
        kept = [*node.ifs[:place], *node.ifs[place + 1 :]]
        yield ast.comprehension(
            target=node.target, iter=node.iter, ifs=kept, is_async=node.is_async
        )


def _call(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Name) and node.func.id in CALLED:
        other = ast.Name(CALLED[node.func.id], ast.Load())
        keywords = [] if other.id == "list" else node.keywords
        yield ast.Call(func=other, args=node.args, keywords=keywords)
    elif len(node.args) > 1:
        for place in range(len(node.args) - 1):
            args = list(node.args)
            if any(isinstance(a, ast.Name) and a.id in TYPED for a in args[place : place + 2]):
                continue
            args[place], args[place + 1] = args[place + 1], args[place]
            yield ast.Call(func=node.func, args=args, keywords=node.keywords)
    for place in range(len(node.keywords)):
        kept = [*node.keywords[:place], *node.keywords[place + 1 :]]
        yield ast.Call(func=node.func, args=node.args, keywords=kept)
    if len(node.args) > 1:
        for place, arg in enumerate(node.args):
            if isinstance(arg, ast.Starred):
                yield ast.Call(
                    func=node.func,
                    args=[*node.args[:place], *node.args[place + 1 :]],
                    keywords=node.keywords,
                )


def _sequence(node: ast.Tuple | ast.List) -> Iterator[ast.AST]:
    if isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
        for place in range(len(node.elts)):
            kept = [*node.elts[:place], *node.elts[place + 1 :]]
            yield type(node)(elts=kept, ctx=node.ctx)


def _dict(node: ast.Dict) -> Iterator[ast.AST]:
    for place in range(len(node.keys)):
        yield ast.Dict(
            keys=[*node.keys[:place], *node.keys[place + 1 :]],
            values=[*node.values[:place], *node.values[place + 1 :]],
        )


def _return(node: ast.Return) -> Iterator[ast.AST]:
    # Neither None nor False: where a truth is asked for, None is False said otherwise.
    if node.value is not None and not (
        isinstance(node.value, ast.Constant)
        and (node.value.value is None or node.value.value is False)
    ):
        yield ast.Return(value=ast.Constant(None))


Change = Callable[..., Iterator[ast.AST]]

CHANGES: dict[type[ast.AST], Change] = {
    ast.Compare: _compare,
    ast.BoolOp: _bool_op,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.AugAssign: _augmented,
    ast.Constant: _constant,
    ast.IfExp: _if_exp,
    ast.If: _if,
    ast.While: _while,
    ast.comprehension: _comprehension,
    ast.Call: _call,
    ast.Tuple: _sequence,
    ast.List: _sequence,
    ast.Dict: _dict,
    ast.Return: _return,
}
