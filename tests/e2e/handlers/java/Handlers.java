// What the matrix of runtime clients invokes, in Java.

import com.amazonaws.services.lambda.runtime.Context;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;

public class Handlers {
    private static final String INSTANCE = UUID.randomUUID().toString();
    private static int calls = 0;
    private static volatile long ticks = 0;

    public static class OrderRefused extends RuntimeException {
        public OrderRefused(String message) {
            super(message);
        }
    }

    public Object echo(Object event) {
        return event;
    }

    public Object nothing(Object event) {
        return null;
    }

    public int length(Map<String, String> event) {
        return event.get("text").length();
    }

    public String repeat(Map<String, Integer> event) {
        return "x".repeat(event.get("times"));
    }

    public Object throwing(Object event) {
        throw new IllegalArgumentException("boom");
    }

    public Object custom(Object event) {
        throw new OrderRefused("order 7: ¡no! 😀");
    }

    public Object exit_zero(Object event) {
        Runtime.getRuntime().halt(0);
        return null;
    }

    public Object exit_one(Object event) {
        System.exit(1);
        return null;
    }

    public Object killed(Object event) throws Exception {
        String pid = String.valueOf(ProcessHandle.current().pid());
        new ProcessBuilder("/bin/sh", "-c", "kill -9 " + pid).start().waitFor();
        Thread.sleep(60_000);
        return null;
    }

    public String hang(Map<String, Object> event) throws Exception {
        if (event.containsKey("hang")) {
            Thread.sleep(60_000);
        }
        return INSTANCE;
    }

    public Map<String, Object> crash_sometimes(Map<String, Object> event) {
        calls += 1;
        if (event.containsKey("crash")) {
            Runtime.getRuntime().halt(3);
        }
        return Map.of("instance", INSTANCE, "calls", calls);
    }

    public Map<String, Object> count(Object event) throws Exception {
        calls += 1;
        Path file = Path.of("/tmp/calls");
        Files.writeString(file, "x", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        return Map.of("instance", INSTANCE, "calls", calls, "kept", Files.size(file));
    }

    public Map<String, Object> busy(Object event, Context context) throws Exception {
        long began = System.currentTimeMillis() * 1000;
        Thread.sleep(300);
        long ended = System.currentTimeMillis() * 1000;
        return Map.of("instance", INSTANCE, "request", context.getAwsRequestId(), "began", began, "ended", ended);
    }

    public Map<String, Object> context(Object event, Context context) {
        Map<String, Object> shown = new HashMap<>();
        shown.put("request_id", context.getAwsRequestId());
        shown.put("name", context.getFunctionName());
        shown.put("version", context.getFunctionVersion());
        shown.put("arn", context.getInvokedFunctionArn());
        shown.put("memory", context.getMemoryLimitInMB());
        shown.put("log_group", context.getLogGroupName());
        shown.put("log_stream", context.getLogStreamName());
        shown.put("remaining", context.getRemainingTimeInMillis());
        shown.put("client", context.getClientContext() == null ? null : context.getClientContext().getCustom());
        return shown;
    }

    public Map<String, String> environment(Object event) {
        Map<String, String> shown = new HashMap<>(System.getenv());
        shown.put("PWD", System.getProperty("user.dir"));
        return shown;
    }

    public String trace(Object event) {
        return System.getProperty("com.amazonaws.xray.traceHeader");
    }

    public long ticking(Object event) {
        if (calls == 0) {
            Thread thread = new Thread(() -> {
                while (true) {
                    try {
                        Thread.sleep(1);
                    } catch (InterruptedException error) {
                        return;
                    }
                    ticks += 1;
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
        calls += 1;
        return ticks;
    }

    public String log(Map<String, Integer> event, Context context) {
        System.out.println("to standard output");
        System.err.println("to standard error");
        context.getLogger().log("unicode: grüße 😀\n");
        if (event.containsKey("long")) {
            System.out.println("y".repeat(event.get("long")));
        }
        return "logged";
    }

    public String flood(Map<String, Integer> event) {
        byte[] line = ("z".repeat(1023) + "\n").getBytes(StandardCharsets.UTF_8);
        for (int n = 0; n < event.get("kib"); n += 1) {
            System.err.write(line, 0, line.length);
        }
        System.err.flush();
        return "flooded";
    }
}
