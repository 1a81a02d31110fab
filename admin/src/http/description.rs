//! The API's description as it is published: what its entrypoints say, put in order.
//!
//! The attributes beside the entrypoints repeat the same errors for each of them and name functions that several files have. Here errors
//! become references to one description each, and identifiers of operations unique, which generators of clients rely on.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::IntoResponses as _;

use super::Errors;

/// Makes a description fit to be published.
pub(super) fn publish(openapi: &utoipa::openapi::OpenApi) -> Value {
    let mut description = serde_json::to_value(openapi).expect("a description is JSON");
    let errors = errors();
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for_each_operation(&mut description, |operation| {
        share_errors(operation, &errors);
        *ids.entry(id_of(operation)).or_default() += 1;
    });
    for_each_operation(&mut description, |operation| {
        let id = id_of(operation);
        if ids.get(&id).is_some_and(|count| *count > 1) {
            let tag = operation["tags"][0].as_str().unwrap_or_default().replace('-', "_");
            operation["operationId"] = json!(format!("{tag}_{id}"));
        }
    });
    let shared: Map<_, _> = errors.into_iter().map(|(status, error)| (name_of(&status), error)).collect();
    description["components"]["responses"] = Value::Object(shared);
    description
}

/// Status and description of the errors that any entrypoint may answer with.
fn errors() -> BTreeMap<String, Value> {
    let responses = Errors::responses().into_iter();
    responses.map(|(status, error)| (status, serde_json::to_value(error).expect("JSON"))).collect()
}

fn name_of(status: &str) -> String {
    format!("Error{status}")
}

fn id_of(operation: &Value) -> String {
    operation["operationId"].as_str().unwrap_or_default().to_owned()
}

fn for_each_operation(description: &mut Value, mut work: impl FnMut(&mut Value)) {
    let paths = description["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        work(operation);
    }
}

/// Puts references in place of errors that are described as everywhere.
fn share_errors(operation: &mut Value, errors: &BTreeMap<String, Value>) {
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, response) in responses {
        if errors.get(status) == Some(response) {
            *response = json!({ "$ref": format!("#/components/responses/{}", name_of(status)) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_an_identifier_of_its_own_and_every_reference_leads_somewhere() {
        let mut description = crate::http::openapi();
        let mut ids = Vec::new();
        for_each_operation(&mut description, |operation| ids.push(id_of(operation)));
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
        let text = description.to_string();
        for reference in text.split(r##""$ref":"#"##).skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(description.pointer(reference).is_some(), "{reference} leads nowhere");
        }
    }
}
