//! The OpenAPI document: what the caller may ask, from the list of operations.
//!
//! - The structure is utoipa's; the schemas are those of the operations' types, as schemars writes them: OpenAPI 3.1
//!   takes JSON Schema as it is.

use super::format::FORMATS;
use super::input::FORMAT;
use super::{guard, reply};
use crate::dispatcher::Gateway;
use crate::input::{is_of, properties};
use crate::operation::{Method, Operation, Output, Planned};
use crate::problem::{Document, Kind};
use crate::registry;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use schemas::{View, datasets};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use store::export::Format;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, HeaderBuilder, InfoBuilder, ObjectBuilder, OpenApiBuilder, Ref, Required,
    ResponseBuilder, ResponsesBuilder, Type,
};

/// The name of the way to say who asks.
const SCHEME: &str = "token";

/// The document for whoever asks.
pub(super) async fn document(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let caller = guard::caller(&gateway, &request).await;
    let caller = match caller {
        Ok(caller) => Some(caller),
        // One that was sent and is wrong is told; none is somebody who has yet to authorise.
        Err(problem) if request.headers.contains_key(axum::http::header::AUTHORIZATION) => {
            return reply::problem(&problem, &guard::id_of(&request.headers));
        }
        Err(_) => None,
    };
    let offered = registry::ALL.iter().copied().filter(|operation| {
        caller
            .as_ref()
            .is_some_and(|caller| gateway.offers(operation, caller))
    });
    let view = caller
        .as_ref()
        .map_or_else(Arc::default, |caller| caller.view.clone());
    match of(offered, &view) {
        Ok(document) => axum::Json(document).into_response(),
        Err(error) => {
            let problem = crate::Problem::internal(&error);
            reply::problem(&problem, &guard::id_of(&request.headers))
        }
    }
}

/// The document of these operations, for whoever sees this.
///
/// # Errors
/// When it has no form in JSON.
fn of(offered: impl Iterator<Item = &'static Operation>, view: &View) -> Result<Value, serde_json::Error> {
    let mut types = SchemaGenerator::new(SchemaSettings::draft2020_12().with(|how| {
        how.definitions_path = "/components/schemas".into();
        how.meta_schema = None;
    }));
    let mut paths = PathsBuilder::new();
    for operation in offered {
        let method = match operation.method {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
            Method::Delete => HttpMethod::Delete,
        };
        paths = paths.path(
            operation.path,
            PathItem::new(method, described(operation, view, &mut types)),
        );
    }
    for (path, about, media_type) in [
        ("/healthz", "Tells that the service lives.", "text/plain"),
        (
            "/readyz",
            "Tells whether the lake can be read and no pipeline has failed.",
            "application/json",
        ),
    ] {
        let content = ContentBuilder::new().build();
        let mut operation = OperationBuilder::new()
            .operation_id(Some(path.trim_start_matches('/')))
            .summary(Some(about))
            .tag("service")
            .response(
                "200",
                ResponseBuilder::new()
                    .description("Yes.")
                    .content(media_type, content.clone()),
            );
        if path == "/readyz" {
            operation = operation.response(
                "503",
                ResponseBuilder::new()
                    .description("No, and why.")
                    .content(media_type, content),
            );
        }
        paths = paths.path(path, PathItem::new(HttpMethod::Get, operation));
    }
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token that `dkc token create` made."))
        .build();
    let info = InfoBuilder::new()
        .title("Data Knowledge Center")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Your own data: datasets, SQL, search. What is listed here is what your token may ask.",
        ))
        .build();
    let document = OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme(SCHEME, SecurityScheme::Http(scheme))
                .build(),
        ))
        .build();
    types.subschema_for::<Document<'static>>();
    let mut document = serde_json::to_value(&document)?;
    let schemas = types.take_definitions(true);
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        components.insert("schemas".to_owned(), Value::Object(schemas));
    }
    Ok(document)
}

/// The input of an operation that can be tried; none where it names a dataset that is not shown.
fn example(operation: &Operation, view: &View) -> Option<Map<String, Value>> {
    let mut words = operation
        .example
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_hidden = words.any(|word| datasets::table(word).is_some() && !view.shows(word));
    serde_json::from_str(operation.example)
        .ok()
        .filter(|_| !is_hidden)
}

fn described(operation: &Operation, view: &View, types: &mut SchemaGenerator) -> OperationBuilder {
    let input = operation.input_schema(types).to_value();
    let component = input
        .get("$ref")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let properties = properties(operation);
    let required = |name: &str| {
        let definition = component
            .rsplit('/')
            .next()
            .and_then(|name| types.definitions().get(name));
        let required = definition
            .and_then(|schema| schema.get("required"))
            .and_then(Value::as_array);
        required.is_some_and(|all| all.iter().any(|one| one == name))
    };
    let mut described = OperationBuilder::new()
        .operation_id(Some(operation.name))
        .summary(Some(operation.about))
        .tag(operation.path.split('/').nth(3).unwrap_or("service"))
        .security(SecurityRequirement::new(SCHEME, Vec::<String>::new()));
    let example = example(operation, view);
    for (name, schema) in properties {
        let is_path = operation.path.contains(&format!("{{{name}}}"));
        if !is_path && operation.method == Method::Post {
            continue;
        }
        let place = if is_path {
            ParameterIn::Path
        } else {
            ParameterIn::Query
        };
        let about = schema.get("description").and_then(Value::as_str);
        let is_required = is_path || required(name);
        described = described.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(place)
                .required(if is_required {
                    Required::True
                } else {
                    Required::False
                })
                .description(about)
                .explode(is_of(schema, "array").then_some(true))
                .example(
                    example
                        .as_ref()
                        .and_then(|all| all.get(name))
                        .cloned()
                        .filter(|_| is_required),
                )
                .schema(Some(Ref::new(format!("{component}/properties/{name}")))),
        );
    }
    if operation.method == Method::Post {
        let in_path = |name: &str| operation.path.contains(&format!("{{{name}}}"));
        let is_needed = properties.keys().any(|name| required(name) && !in_path(name));
        let body = ContentBuilder::new().schema(Some(Ref::new(body_of(operation, &component, types))));
        let example = example.map(|all| all.into_iter().filter(|(name, _)| !in_path(name)).collect());
        let body = body.example(example.map(Value::Object)).build();
        let body = RequestBodyBuilder::new()
            .content("application/json", body)
            .required(Some(if is_needed {
                Required::True
            } else {
                Required::False
            }))
            .build();
        described = described.request_body(Some(body));
    }
    if operation.takes_format() {
        let names: Vec<&str> = FORMATS.iter().map(|(format, _)| format.name()).collect();
        let schema = serde_json::from_value(json!({ "type": "string", "enum": names }));
        let schema: Option<utoipa::openapi::RefOr<utoipa::openapi::Schema>> = schema.ok();
        described = described.parameter(
            ParameterBuilder::new()
                .name(FORMAT)
                .parameter_in(ParameterIn::Query)
                .description(Some("The format of the rows, as `Accept` may name it too."))
                .schema(schema),
        );
    }
    for (header, about) in headers(operation) {
        described = described.parameter(
            ParameterBuilder::new()
                .name(header)
                .parameter_in(ParameterIn::Header)
                .description(Some(about))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String))),
        );
    }
    described.responses(responses(operation, types))
}

/// The headers of a request that an operation hears, beside those that all do.
fn headers(operation: &Operation) -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_cacheable = (
        "If-None-Match",
        "The `ETag` of an answer that the client has, several, or `*` for any: if it is still the same, it is not sent again.",
    );
    let of_events = (
        "Last-Event-ID",
        "With `Accept: text/event-stream`, the event that came last: those after it come. It says the same as `after`.",
    );
    let of_cacheable = operation.is_cacheable.then_some(of_cacheable);
    let of_events = matches!(operation.output, Output::Events(_)).then_some(of_events);
    of_cacheable.into_iter().chain(of_events)
}

/// The schema of a body: that of the input, without what stands in the path.
fn body_of(operation: &Operation, component: &str, types: &mut SchemaGenerator) -> String {
    let name = component.rsplit('/').next().unwrap_or_default().to_owned();
    let in_path = |name: &str| operation.path.contains(&format!("{{{name}}}"));
    let Some(schema) = types.definitions().get(&name).cloned() else {
        return component.to_owned();
    };
    let has_path = schema
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|all| all.keys().any(|key| in_path(key)));
    if !has_path {
        return component.to_owned();
    }
    let mut body = schema;
    if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|key, _| !in_path(key));
    }
    if let Some(required) = body.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|key| !key.as_str().is_some_and(in_path));
    }
    let name = format!("{name}Body");
    types.definitions_mut().insert(name.clone(), body);
    format!("#/components/schemas/{name}")
}

fn responses(operation: &Operation, types: &mut SchemaGenerator) -> ResponsesBuilder {
    let mut good = ResponseBuilder::new().description(match operation.output {
        Output::Json(_) | Output::Events(_) => "The answer.",
        Output::Rows => "The rows.",
        Output::Bytes => "The bytes.",
    });
    match operation.output {
        Output::Json(output) | Output::Events(output) => {
            let schema = output(types).to_value();
            let content = ContentBuilder::new();
            let content = match schema.get("$ref").and_then(Value::as_str) {
                Some(component) => content.schema(Some(Ref::new(component))),
                None => content,
            };
            good = good.content("application/json", content.build());
            if matches!(operation.output, Output::Events(_)) {
                good = good.content("text/event-stream", ContentBuilder::new().build());
            }
        }
        Output::Rows => {
            for (format, media_type) in FORMATS {
                let content = ContentBuilder::new();
                let content = match format {
                    Format::Json => {
                        let schema = json!({
                            "type": "object",
                            "required": ["rows", "snapshot"],
                            "properties": {
                                "rows": { "type": "array", "items": { "type": "object" } },
                                "snapshot": { "type": "integer" },
                                "next_url": { "type": ["string", "null"] },
                            },
                        });
                        let schema: Option<utoipa::openapi::RefOr<utoipa::openapi::Schema>> =
                            serde_json::from_value(schema).ok();
                        content.schema(schema)
                    }
                    _ => content,
                };
                good = good.content(*media_type, content.build());
            }
            good = good.header(
                "Link",
                HeaderBuilder::new()
                    .description(Some("The next page, where there is one."))
                    .build(),
            );
        }
        Output::Bytes => good = good.content("*/*", ContentBuilder::new().build()),
    }
    if operation.is_cacheable {
        let about = "The name of this answer, for `If-None-Match`; weak where it may come compressed.";
        good = good.header("ETag", HeaderBuilder::new().description(Some(about)).build());
    }
    let mut responses = ResponsesBuilder::new().response("200", good);
    if operation.plan.is_some() {
        types.subschema_for::<Planned>();
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Planned")))
            .build();
        responses = responses.response(
            "202",
            ResponseBuilder::new()
                .description("What it would do; nothing is done yet.")
                .content("application/json", content),
        );
    }
    if operation.is_cacheable {
        responses = responses.response(
            "304",
            ResponseBuilder::new().description("It is what `If-None-Match` names."),
        );
    }
    // These come before a request is read, without a body.
    for (status, about) in [
        ("414", "the address is too long"),
        ("431", "the headers are too long"),
    ] {
        responses = responses.response(status, ResponseBuilder::new().description(about));
    }
    let mut seen = Vec::new();
    for kind in Kind::ALL {
        let takes_body = operation.method == Method::Post;
        let is_of_bodies = matches!(kind, Kind::UnsupportedMediaType);
        let status = kind.status().to_string();
        if seen.contains(&status) || (is_of_bodies && !takes_body) || matches!(kind, Kind::MethodNotAllowed) {
            continue;
        }
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let response = ResponseBuilder::new()
            .description(kind.title())
            .content("application/problem+json", content);
        responses = responses.response(status.clone(), response);
        seen.push(status);
    }
    responses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_heard_are_told_and_no_others() {
        let document = of(registry::ALL.iter().copied(), &View::default()).unwrap();
        for operation in registry::ALL {
            let method = format!("{:?}", operation.method).to_lowercase();
            let told = &document["paths"][operation.path][method];
            let headers: Vec<&Value> = told["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "header")
                .collect();
            // Any text is taken: one that names nothing is as none.
            assert!(
                headers
                    .iter()
                    .all(|header| header["schema"] == json!({ "type": "string" }))
            );
            assert!(headers.iter().all(|header| header["required"] != true));
            let has = |name: &str| headers.iter().any(|header| header["name"] == name);
            let name = operation.name;
            assert_eq!(has("If-None-Match"), operation.is_cacheable, "{name}");
            assert_eq!(
                told["responses"].get("304").is_some(),
                operation.is_cacheable,
                "{name}"
            );
            assert_eq!(
                told["responses"]["200"]["headers"].get("ETag").is_some(),
                operation.is_cacheable,
                "{name}"
            );
            let is_of_events = matches!(operation.output, Output::Events(_));
            assert_eq!(has("Last-Event-ID"), is_of_events, "{name}");
        }
    }

    #[test]
    fn an_attachment_is_named_by_a_number() {
        let document = of(registry::ALL.iter().copied(), &View::default()).unwrap();
        let path = "/api/v1/datasets/{dataset}/items/{item}/attachments/{ordinal}";
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let asked = parameters.iter().filter(|one| one["in"] != "header");
        let places: Vec<_> = asked.map(|one| (&one["name"], &one["in"])).collect();
        assert_eq!(places.len(), 3);
        assert!(places.iter().all(|(_, place)| *place == "path"), "{places:?}");
        let ordinal = &document["components"]["schemas"]["GetAttachment"]["properties"]["ordinal"];
        assert_eq!(ordinal["type"], "integer");
        assert_eq!(ordinal["minimum"].as_f64(), Some(0.0));
    }
}
