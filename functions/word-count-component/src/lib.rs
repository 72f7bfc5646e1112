//! The same as word-count, as a component: a function with a type, which is in `functions/wit`.
//!
//! Whatever is printed is the log.

#[path = "../../word-count/src/count.rs"]
mod count;

wit_bindgen::generate!({ path: "../wit", world: "function" });

struct WordCount;

impl Guest for WordCount {
    fn handle(event: Vec<u8>) -> Result<Vec<u8>, String> {
        let event = serde_json::from_slice(&event).map_err(|error| error.to_string())?;
        Ok(count::count(&event)?.to_string().into_bytes())
    }
}

export!(WordCount);
