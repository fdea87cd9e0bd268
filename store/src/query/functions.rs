//! The functions that a reader may call. What is not listed here does not exist for him: a new one of the engine is
//! absent until somebody has looked at it.
//!
//! - Allowed is what computes a value from values. Refused is what makes much of little (F2: the memory pool does not
//!   see what functions make), and what tells about the program instead of the data.
//! - Not here: table functions, of which the engine's own are all refused; `past` has ours.

use super::QueryError;
use datafusion::sql::sqlparser::ast;
use std::ops::ControlFlow;

/// Allowed, by name; their aliases come with them.
pub const ALLOWED: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "array_agg",
    "array_any_value",
    "array_append",
    "array_compact",
    "array_concat",
    "array_dims",
    "array_distance",
    "array_distinct",
    "array_element",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_length",
    "array_max",
    "array_min",
    "array_ndims",
    "array_normalize",
    "array_pop_back",
    "array_pop_front",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_reverse",
    "array_slice",
    "array_sort",
    "array_to_string",
    "array_union",
    "arrays_zip",
    "arrow_cast",
    "arrow_try_cast",
    "arrow_typeof",
    "ascii",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "bit_and",
    "bit_distance",
    "bit_length",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "cast_to_type",
    "cbrt",
    "ceil",
    "character_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "corr",
    "cos",
    "cosh",
    "cosine_distance",
    "cot",
    "count",
    "covar_pop",
    "covar_samp",
    "cume_dist",
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "decode",
    "degrees",
    "dense_rank",
    "digest",
    "empty",
    "encode",
    "ends_with",
    "exp",
    "factorial",
    "find_in_set",
    "first_value",
    "flatten",
    "floor",
    "from_unixtime",
    "gcd",
    "get_field",
    "greatest",
    "grouping",
    "initcap",
    "inner_product",
    "isnan",
    "iszero",
    "lag",
    "last_value",
    "lcm",
    "lead",
    "least",
    "left",
    "levenshtein",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "make_array",
    "make_date",
    "make_time",
    "map",
    "map_entries",
    "map_extract",
    "map_keys",
    "map_values",
    "max",
    "md5",
    "median",
    "min",
    "named_struct",
    "nanvl",
    "now",
    "nth_value",
    "ntile",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "overlay",
    "percent_rank",
    "percentile_cont",
    "pi",
    "power",
    "radians",
    "random",
    "rank",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "replace",
    "reverse",
    "right",
    "round",
    "row_number",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "signum",
    "sin",
    "sinh",
    "split_part",
    "sqrt",
    "starts_with",
    "stddev",
    "stddev_pop",
    "string_agg",
    "string_to_array",
    "strpos",
    "struct",
    "substr",
    "substr_index",
    "sum",
    "tan",
    "tanh",
    "to_char",
    "to_date",
    "to_hex",
    "to_local_time",
    "to_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    "translate",
    "trunc",
    "try_cast_to_type",
    "union_extract",
    "union_tag",
    "upper",
    "uuid",
    "var",
    "var_pop",
];

/// Refused, with the reason. The aliases are listed: the query is searched for these names, to say why.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("any_match", TAKES_LAMBDA),
    ("array_any_match", TAKES_LAMBDA),
    ("array_filter", TAKES_LAMBDA),
    ("array_repeat", MAKES_MUCH),
    ("array_resize", MAKES_MUCH),
    ("array_transform", TAKES_LAMBDA),
    ("arrow_field", TELLS_OTHER),
    ("arrow_metadata", TELLS_OTHER),
    ("generate_series", MAKES_MUCH),
    ("list_any_match", TAKES_LAMBDA),
    ("list_filter", TAKES_LAMBDA),
    ("list_repeat", MAKES_MUCH),
    ("list_resize", MAKES_MUCH),
    ("list_transform", TAKES_LAMBDA),
    ("lpad", MAKES_MUCH),
    ("range", MAKES_MUCH),
    ("repeat", MAKES_MUCH),
    ("rpad", MAKES_MUCH),
    ("version", TELLS_OTHER),
    ("with_metadata", TELLS_OTHER),
];

const MAKES_MUCH: &str = "it can make any number of values out of nothing";
const TAKES_LAMBDA: &str = "it takes a lambda, which cannot be written here; UNNEST the list";
const TELLS_OTHER: &str = "it tells about the program, not about the data";

/// What the planner makes something else of, so that it is not among the functions of the engine.
pub(super) const PLANNED: &[&str] = &["make_map", "unnest"];

/// Whether a reader may call the function of this name.
pub(super) fn is_allowed(name: &str) -> bool {
    ALLOWED.contains(&name)
}

/// Why a reader may not call the function of this name, if it is one that the engine has.
pub(super) fn refusal(name: &str) -> Option<QueryError> {
    let (name, why) = REFUSED
        .iter()
        .find(|(refused, _)| name.eq_ignore_ascii_case(refused))?;
    Some(QueryError::NotAllowed {
        what: format!("the function `{name}`"),
        why: (*why).to_owned(),
    })
}

/// The names of the functions that a statement calls, as the engine looks for them.
pub(super) fn called(statement: &ast::Statement) -> Vec<String> {
    let mut names = Vec::new();
    // It never breaks off.
    let _ = ast::visit_expressions(statement, |expr| {
        if let ast::Expr::Function(function) = expr {
            names.extend(looked_for(function));
        }
        ControlFlow::<()>::Continue(())
    });
    names
}

fn looked_for(function: &ast::Function) -> Option<String> {
    match (function.name.0.as_slice(), &function.args) {
        // Without brackets it may be a column.
        (_, ast::FunctionArguments::None) => None,
        ([only], _) => only.as_ident().map(|ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_ascii_lowercase(),
        }),
        _ => Some(function.name.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::SessionStateDefaults as Defaults;
    use std::collections::BTreeSet;

    /// What the engine registers and what is ours, by name.
    fn registered() -> BTreeSet<String> {
        let scalar = Defaults::default_scalar_functions();
        let higher = Defaults::default_higher_order_functions();
        let aggregate = Defaults::default_aggregate_functions();
        let window = Defaults::default_window_functions();
        let table = Defaults::default_table_functions();
        let names = scalar.iter().map(|function| function.name().to_owned());
        names
            .chain(higher.iter().map(|function| function.name().to_owned()))
            .chain(aggregate.iter().map(|function| function.name().to_owned()))
            .chain(window.iter().map(|function| function.name().to_owned()))
            .chain(table.iter().map(|function| function.name().to_owned()))
            .chain([crate::query::alike::bit_distance().name().to_owned()])
            .collect()
    }

    fn aliases_of_refused() -> BTreeSet<String> {
        let scalar = Defaults::default_scalar_functions();
        let higher = Defaults::default_higher_order_functions();
        let scalar = scalar
            .iter()
            .map(|function| (function.name(), function.aliases()));
        let higher = higher
            .iter()
            .map(|function| (function.name(), function.aliases()));
        scalar
            .chain(higher)
            .filter(|(name, _)| refusal(name).is_some())
            .flat_map(|(_, aliases)| aliases.to_vec())
            .collect()
    }

    #[test]
    fn every_function_of_the_engine_is_allowed_or_refused_and_no_other_is_listed() {
        let registered = registered();
        let refused = || REFUSED.iter().map(|(name, _)| *name);
        let listed: BTreeSet<&str> = ALLOWED.iter().copied().chain(refused()).collect();
        let new: Vec<_> = registered
            .iter()
            .filter(|name| !listed.contains(name.as_str()))
            .collect();
        assert!(new.is_empty(), "decide on {new:?}");
        let aliases = aliases_of_refused();
        let gone: Vec<_> = listed
            .iter()
            .filter(|name| !registered.contains(**name) && !aliases.contains(**name))
            .collect();
        assert!(gone.is_empty(), "the engine has no {gone:?}");
        assert!(refused().all(|name| !is_allowed(name)));
    }

    #[test]
    fn every_alias_of_a_refused_function_is_listed() {
        for alias in aliases_of_refused() {
            assert!(refusal(&alias).is_some(), "{alias}");
        }
    }

    #[test]
    fn the_lists_are_in_order() {
        assert!(ALLOWED.is_sorted());
        assert!(REFUSED.is_sorted());
    }
}
