//! The two layers of WebAssembly, and their way from a package to an artifact and back.

use wasmtime::component::Component;
use wasmtime::error::Context as _;
use wasmtime::{Engine, Module, Precompiled};

/// Something compiled.
pub(crate) enum Binary {
    Module(Module),
    Component(Component),
}

impl Binary {
    /// Compiles what a package has, or says to its author why it cannot be.
    pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Self, String> {
        // Either begins with its magic, version and layer; the version of components is that of a draft.
        let (what, compiled) = match bytes.get(..8) {
            Some(b"\0asm\x01\0\0\0") => ("module", Module::new(engine, bytes).map(Self::Module)),
            Some([0, b'a', b's', b'm', _, _, 1, 0]) => (
                "component",
                Component::new(engine, bytes).map(Self::Component),
            ),
            Some(_) | None => {
                return Err("it is neither a WebAssembly module nor a component".to_owned());
            }
        };
        compiled.map_err(|error| format!("its {what} cannot be compiled: {error:#}"))
    }

    /// What [`Self::load`] reads, of one engine and one layer, which it names.
    pub(crate) fn serialize(&self) -> wasmtime::Result<Vec<u8>> {
        match self {
            Self::Module(module) => module.serialize(),
            Self::Component(component) => component.serialize(),
        }
    }

    /// Maps an artifact.
    ///
    /// # Errors
    /// When it is of another engine, cannot be read, is no artifact at all, or asks for what the engine's
    /// pool does not have.
    pub(crate) fn load(engine: &Engine, artifact: &str) -> wasmtime::Result<Self> {
        let neither = "its file is neither a compiled module nor a compiled component";
        let detected = Engine::detect_precompiled_file(artifact)
            .context(neither)?
            .ok_or_else(|| wasmtime::Error::msg(neither))?;
        #[expect(
            unsafe_code,
            reason = "the engine's only way to load what was compiled before"
        )]
        // SAFETY: the file is one that this engine has written: the server alone writes to the folder
        // it is in, whole files only, and it names artifacts by the engine they are of. Whatever the
        // code in it does, it does in this process, whose walls are those of any function's.
        unsafe {
            match detected {
                Precompiled::Module => Module::deserialize_file(engine, artifact).map(Self::Module),
                Precompiled::Component => {
                    Component::deserialize_file(engine, artifact).map(Self::Component)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
