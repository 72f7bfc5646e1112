// Runs a C# function: asks the Runtime API for events and answers them.
//
// For Mono, with nothing but what its smallest installation has. Behaves to the function as AWS's runtime
// support does: how handlers are named and found, the context, the shapes and types of errors, the form of what
// is printed.

using System;
using System.IO;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Tidemill
{
    static class Program
    {
        static int Main(string[] arguments)
        {
            if (arguments.Length > 0 && arguments[0] == "tell")
            {
                Tell();
                return 0;
            }
            Log.TakeConsole();
            var api = new RuntimeApi(Environment.GetEnvironmentVariable("AWS_LAMBDA_RUNTIME_API"));
            var code = Environment.GetEnvironmentVariable("LAMBDA_TASK_ROOT");
            AppDomain.CurrentDomain.AssemblyResolve += (_, asked) => Beside(code, new AssemblyName(asked.Name).Name);
            Handler handler;
            try
            {
                handler = new Handler(code, Environment.GetEnvironmentVariable("_HANDLER"));
            }
            catch (Exception error)
            {
                Report(api, "init/error", new Fault(error));
                return 1;
            }
            while (true)
            {
                ServeOne(api, handler);
            }
        }

        static void ServeOne(RuntimeApi api, Handler handler)
        {
            var request = api.Get("invocation/next");
            var id = request["Lambda-Runtime-Aws-Request-Id"];
            Log.Request = id;
            Environment.SetEnvironmentVariable("_X_AMZN_TRACE_ID", request["Lambda-Runtime-Trace-Id"]);
            byte[] response;
            try
            {
                response = handler.Answer(request);
            }
            catch (Exception error)
            {
                Report(api, $"invocation/{id}/error", new Fault(error));
                return;
            }
            // What the function printed must be in the pipe before its answer is.
            Log.Finish();
            // A refusal (a response that is too large, say) is the platform's to report.
            api.Post($"invocation/{id}/response", response);
        }

        static void Report(RuntimeApi api, string resource, Fault fault)
        {
            Log.Finish();
            Log.Write(fault);
            api.Post(resource, fault.Json(), fault.Type);
        }

        // What the package has beside the handler's assembly, whichever version is asked for.
        static Assembly Beside(string code, string name)
        {
            var path = Path.Combine(code, name + ".dll");
            return File.Exists(path) ? Assembly.LoadFrom(path) : null;
        }

        // Where this Mono is, which it is, and what it lives in.
        static void Tell()
        {
            Console.WriteLine(System.Diagnostics.Process.GetCurrentProcess().MainModule.FileName);
            Console.WriteLine(Version);
            // PREFIX/lib/mono/VERSION, and FOLDER/VERSION/machine.config.
            Console.WriteLine(Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../..")));
            Console.WriteLine(Path.GetFullPath(Path.Combine(RuntimeEnvironment.SystemConfigurationFile, "../..")));
        }

        internal static string Version
        {
            get
            {
                var name = Type.GetType("Mono.Runtime")
                    .GetMethod("GetDisplayName", BindingFlags.NonPublic | BindingFlags.Static);
                return "Mono " + ((string)name.Invoke(null, null)).Split(' ')[0];
            }
        }
    }
}
