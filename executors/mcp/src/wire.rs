//! One JSON-RPC message of MCP, as bytes and as a value. What a method means is in `peer`, how bytes travel in the transports.

use serde_json::{Map, Value, json};

/// The protocol version that begins with `initialize`.
pub(crate) const LEGACY: &str = "2025-11-25";
/// Versions of that era, any of which a server may answer with.
pub(crate) const LEGACY_VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// The stateless version: every request says who asks.
pub(crate) const MODERN: &str = "2026-07-28";

/// A message from a server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    /// The answer to a request of ours.
    Answer { id: u64, answer: Result<Value, RpcError> },
    /// It asks us.
    Request { id: Value, method: String, params: Value },
    /// It tells us.
    Notification { method: String, params: Value },
}

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
}

/// Reads one message; the problem in words when it is none.
pub(crate) fn read(bytes: &[u8]) -> Result<Message, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let Value::Object(mut map) = value else { return Err("a message that is no object".to_owned()) };
    let params = |map: &mut Map<String, Value>| map.remove("params").unwrap_or_else(|| json!({}));
    match (map.remove("method"), map.remove("id")) {
        (Some(Value::String(method)), Some(id)) => Ok(Message::Request { id, method, params: params(&mut map) }),
        (Some(Value::String(method)), None) => Ok(Message::Notification { method, params: params(&mut map) }),
        (None, Some(id)) => {
            // Some servers give a number back as text.
            let id = id.as_u64().or_else(|| id.as_str()?.parse().ok()).ok_or("an answer to a request that was never made")?;
            match (map.remove("result"), map.remove("error")) {
                (Some(result), None) => Ok(Message::Answer { id, answer: Ok(result) }),
                (_, Some(error)) => Ok(Message::Answer { id, answer: Err(error_of(&error)) }),
                (None, None) => Err("an answer without result or error".to_owned()),
            }
        }
        _ => Err("neither request, answer nor notification".to_owned()),
    }
}

fn error_of(error: &Value) -> RpcError {
    let message = error.get("message").and_then(Value::as_str).unwrap_or("(no message)");
    RpcError { code: error.get("code").and_then(Value::as_i64).unwrap_or(0), message: cut(message, 2000) }
}

/// A request of ours.
pub(crate) fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A notification of ours.
pub(crate) fn notification(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// Our answer to a request of the server's.
pub(crate) fn answer(id: &Value, answer: Result<Value, RpcError>) -> Value {
    match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(error) => json!({ "jsonrpc": "2.0", "id": id, "error": { "code": error.code, "message": error.message } }),
    }
}

/// The beginning of a text, cut at a character.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_three_kinds_apart_and_refuses_the_rest() {
        let answer = read(br#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}"#).unwrap();
        assert_eq!(answer, Message::Answer { id: 7, answer: Ok(json!({"a": 1})) });
        assert_eq!(read(br#"{"id":"7","result":{"a":1}}"#).unwrap(), answer);
        assert!(matches!(
            read(br#"{"id":1,"error":{"code":-32601,"message":"no"}}"#),
            Ok(Message::Answer { answer: Err(_), .. })
        ));
        assert!(matches!(read(br#"{"id":"x","method":"ping"}"#), Ok(Message::Request { .. })));
        assert!(matches!(read(br#"{"method":"notifications/progress","params":{}}"#), Ok(Message::Notification { .. })));
        for garbage in ["", "hello", "[]", "{}", r#"{"id":null,"result":1}"#, r#"{"id":1}"#, r#"{"method":3}"#] {
            assert!(read(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }

    #[test]
    fn cuts_at_characters() {
        assert_eq!(cut("aé", 2), "a…");
        assert_eq!(cut("aé", 3), "aé");
    }
}
