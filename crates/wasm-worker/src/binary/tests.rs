use super::*;

/// A module and a component, each with an artifact of its own.
fn artifact(engine: &Engine, folder: &tempfile::TempDir, text: &str) -> String {
    let binary = Binary::compile(engine, &wat::parse_str(text).unwrap()).unwrap();
    let file = folder.path().join(text.len().to_string());
    std::fs::write(&file, binary.serialize().unwrap()).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn an_artifact_is_loaded_as_what_it_was_compiled_from() {
    let engine = crate::engine::new(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let module = artifact(&engine, &folder, "(module)");
    assert!(matches!(
        Binary::load(&engine, &module),
        Ok(Binary::Module(_))
    ));
    let component = artifact(&engine, &folder, "(component)");
    assert!(matches!(
        Binary::load(&engine, &component),
        Ok(Binary::Component(_))
    ));
    let source = folder.path().join("source");
    std::fs::write(&source, "(module)").unwrap();
    let refused = Binary::load(&engine, source.to_str().unwrap()).err();
    let refused = refused.unwrap().to_string();
    assert!(refused.contains("neither a compiled module"), "{refused}");
}

#[test]
fn the_engine_does_not_take_one_layer_for_the_other() {
    let engine = crate::engine::new(1).unwrap();
    let compile = |text: &str| {
        let binary = Binary::compile(&engine, &wat::parse_str(text).unwrap());
        binary.unwrap().serialize().unwrap()
    };
    let (module, component) = (compile("(module)"), compile("(component)"));
    #[expect(unsafe_code, reason = "artifacts of a moment ago")]
    // SAFETY: this engine has made both.
    let (taken, other) = unsafe {
        (
            Component::deserialize(&engine, &module).err(),
            Module::deserialize(&engine, &component).err(),
        )
    };
    assert!(taken.is_some() && other.is_some());
}
