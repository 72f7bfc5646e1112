import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the classes behind the scripts of Apache Kafka's distribution one after the other, because starting Java for
 * each takes seconds. A line of standard input is a class and its arguments, between tabs; the answer is a line with
 * the exit code and the number of bytes that follow: all that was printed.
 */
public class Scripts {
    /** The script wanted to end the process. Some catch even this: the code of the first end counts. */
    private static final class Ended extends Error {
        Ended() {
            super("ended", null, false, false);
        }
    }

    private static Integer code;

    private static void end(int wanted) {
        code = code == null ? wanted : code;
        throw new Ended();
    }

    public static void main(String[] none) throws Exception {
        Exit.setExitProcedure((wanted, message) -> end(wanted));
        Exit.setHaltProcedure((wanted, message) -> end(wanted));
        PrintStream answers = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        PrintStream out = new PrintStream(said, true);
        System.setOut(out);
        System.setErr(out);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null;) {
            String[] words = line.split("\t");
            int ended = run(words[0], Arrays.copyOfRange(words, 1, words.length), out);
            out.flush();
            answers.println(ended + " " + said.size());
            answers.flush();
            said.writeTo(answers);
            answers.flush();
            said.reset();
        }
    }

    private static int run(String script, String[] arguments, PrintStream out) throws Exception {
        code = null;
        try {
            Class.forName(script).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException failed) {
            if (!(failed.getCause() instanceof Ended)) {
                failed.getCause().printStackTrace(out);
                return 1;
            }
        }
        return code == null ? 0 : code;
    }
}
