// A handler whose class cannot be made.

public class Broken {
    public Broken() {
        throw new IllegalStateException("no database");
    }

    public Object handle(Object event) {
        return event;
    }
}
