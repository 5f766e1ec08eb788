"""What each node of PostgreSQL's parse tree may mean here; tables.

EXPRESSIONS are the nodes that a reading statement is made of. A node that is in no table makes its statement
`unparsed`: new syntax is refused until somebody has looked at it.
"""

from typing import Final

from approvals.scope import Action

__all__ = ["COMMANDS", "EXPRESSIONS", "SETTINGS", "SETTINGS_PINNED"]

_EXPRESSIONS_TEXT: Final = """
A_ArrayExpr A_Const A_Expr A_Indices A_Indirection A_Star Alias BitString BoolExpr Boolean BooleanTest CTECycleClause
CTESearchClause CaseExpr CaseWhen CoalesceExpr CollateClause ColumnDef ColumnRef CommonTableExpr CurrentOfExpr DefElem
DistinctExpr Float FuncCall GroupingFunc GroupingSet IndexElem InferClause Integer JoinExpr JsonAggConstructor
JsonArgument JsonArrayAgg JsonArrayConstructor JsonArrayQueryConstructor JsonBehavior JsonFormat JsonFuncExpr
JsonIsPredicate JsonKeyValue JsonObjectAgg JsonObjectConstructor JsonOutput JsonParseExpr JsonReturning JsonScalarExpr
JsonSerializeExpr JsonTable JsonTableColumn JsonTablePathSpec JsonValueExpr List LockingClause MergeWhenClause
MinMaxExpr MultiAssignRef NamedArgExpr NullIfExpr NullTest OnConflictClause ParamRef RangeFunction RangeSubselect
RangeTableFunc RangeTableFuncCol RangeTableSample RangeVar ResTarget RowExpr SQLValueFunction SetToDefault SortBy
String SubLink TypeCast TypeName WindowDef WithClause XmlExpr XmlSerialize
"""
EXPRESSIONS: Final = frozenset(_EXPRESSIONS_TEXT.split())

_DDL: Final = """
AlterCollationStmt AlterDomainStmt AlterEnumStmt AlterObjectDependsStmt AlterObjectSchemaStmt AlterSeqStmt
AlterStatsStmt AlterTSConfigurationStmt AlterTSDictionaryStmt AlterTableMoveAllStmt AlterTableStmt AlterTypeStmt
ClusterStmt CommentStmt CompositeTypeStmt CreateDomainStmt CreateEnumStmt CreateRangeStmt CreateSchemaStmt
CreateSeqStmt CreateStatsStmt CreateStmt CreateTableAsStmt DefineStmt DropStmt IndexStmt RefreshMatViewStmt
ReindexStmt RenameStmt ViewStmt
"""

_ADMIN: Final = """
AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt AlterDatabaseStmt AlterSystemStmt AlterTableSpaceOptionsStmt
CheckPointStmt CreateTableSpaceStmt CreatedbStmt DropTableSpaceStmt DropdbStmt LoadStmt ReassignOwnedStmt SecLabelStmt
DropOwnedStmt VacuumStmt
"""

# Whatever creates identities, rights, replication, foreign servers, or code that runs with its owner's rights:
# a door that would outlive the grant.
_PATH: Final = """
AlterDefaultPrivilegesStmt AlterEventTrigStmt AlterExtensionContentsStmt AlterExtensionStmt AlterFdwStmt
AlterForeignServerStmt AlterFunctionStmt AlterOpFamilyStmt AlterOperatorStmt AlterOwnerStmt AlterPolicyStmt
AlterPublicationStmt AlterRoleSetStmt AlterRoleStmt AlterSubscriptionStmt AlterUserMappingStmt CreateAmStmt
CreateCastStmt CreateConversionStmt CreateEventTrigStmt CreateExtensionStmt CreateFdwStmt CreateForeignServerStmt
CreateForeignTableStmt CreateFunctionStmt CreateOpClassStmt CreateOpFamilyStmt CreatePLangStmt CreatePolicyStmt
CreatePublicationStmt CreateRoleStmt CreateSubscriptionStmt CreateTransformStmt CreateTrigStmt CreateUserMappingStmt
DropRoleStmt DropSubscriptionStmt DropUserMappingStmt GrantRoleStmt GrantStmt ImportForeignSchemaStmt RuleStmt
"""

_WRITE: Final = "TruncateStmt LockStmt NotifyStmt"
_CONTROL: Final = "ConstraintsSetStmt UnlistenStmt"


def _table(*rows: tuple[str, tuple[Action, ...]]) -> dict[str, tuple[Action, ...]]:
    return {name: actions for names, actions in rows for name in names.split()}


COMMANDS: Final = _table(
    (_DDL, ("ddl",)),
    (_ADMIN, ("admin",)),
    (_PATH, ("path",)),
    (_WRITE, ("write",)),
    (_CONTROL, ()),
    ("ListenStmt", ("read",)),
    ("CallStmt", ("write",)),
)
"""Commands whose own node says what they do, whatever is in them besides. () = control: any live grant may."""

_SETTINGS_TEXT: Final = """
application_name array_nulls backslash_quote bytea_output check_function_bodies client_connection_check_interval
client_min_messages constraint_exclusion cursor_tuple_fraction datestyle default_statistics_target
default_text_search_config default_transaction_deferrable default_transaction_isolation effective_cache_size
effective_io_concurrency escape_string_warning exit_on_error extra_float_digits from_collapse_limit geqo
geqo_threshold gin_fuzzy_search_limit hash_mem_multiplier idle_in_transaction_session_timeout idle_session_timeout
intervalstyle jit join_collapse_limit lc_monetary lc_numeric lc_time lock_timeout maintenance_work_mem
max_parallel_workers_per_gather plan_cache_mode quote_all_identifiers random_page_cost recursive_worktable_factor
row_security seq_page_cost statement_timeout temp_buffers tcp_keepalives_count tcp_keepalives_idle
tcp_keepalives_interval tcp_user_timeout timezone transaction_deferrable transaction_isolation transaction_timeout
transform_null_equals work_mem xmlbinary xmloption
"""
SETTINGS: Final = frozenset(_SETTINGS_TEXT.split())
"""What any session may SET; also everything that begins with enable_ or cpu_. None of it lets anybody do more."""

SETTINGS_PINNED: Final = {
    "client_encoding": frozenset({"utf8", "utf-8", "unicode"}),
    "names": frozenset({"utf8", "utf-8", "unicode"}),
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1"}),
}
"""Settings that change how a text is read: the gate and the store must read it alike."""
