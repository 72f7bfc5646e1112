using System;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Threading.Tasks;

namespace Tidemill
{
    // What `_HANDLER` names, `ASSEMBLY::TYPE::METHOD`, found and judged as AWS does.
    sealed class Handler
    {
        const string Context = "Amazon.Lambda.Core.ILambdaContext";
        // The first .NET after .NET Core: what is built for it, or for a later one, says so.
        const int OldestModern = 5;
        const BindingFlags Any =
            BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static;

        readonly MethodInfo method;
        readonly object target;
        readonly Serializer serializer;
        readonly Type input;
        readonly Type context;
        readonly Type output;

        internal Handler(string code, string name)
        {
            var parts = name.Split(new[] { "::" }, 3, StringSplitOptions.None).Select(part => part.Trim()).ToArray();
            if (parts.Length != 3 || parts.Any(part => part == ""))
            {
                throw new LambdaValidationException(
                    $"Invalid lambda function handler: '{name}'. The valid format is 'ASSEMBLY::TYPE::METHOD'.");
            }
            var assembly = Load(code, parts[0]);
            var type = assembly.GetType(parts[1]) ?? throw new LambdaValidationException(
                $"Unable to load type '{parts[1]}' from assembly '{parts[0]}'.");
            var named = type.GetMethods(Any).Where(it => it.Name == parts[2]).ToArray();
            if (named.Length == 0)
            {
                throw new LambdaValidationException($"Unable to find method '{parts[2]}' in type '{parts[1]}' from "
                    + $"assembly '{parts[0]}': Found no methods matching method name '{parts[2]}'.");
            }
            if (named.Length > 1)
            {
                throw new LambdaValidationException($"The method '{parts[2]}' in type '{parts[1]}' appears to have a "
                    + "number of overloads. Give the handler a name of its own.");
            }
            method = named[0];
            Judge(type);
            var parameters = method.GetParameters().Select(it => it.ParameterType).ToArray();
            if (parameters.Length > 2)
            {
                throw Unsupported("the method has more than 2 parameters");
            }
            if (parameters.Length == 2 && parameters[1].FullName != Context)
            {
                throw Unsupported($"the method has 2 parameters, but the second parameter is not of type '{Context}'");
            }
            context = parameters.LastOrDefault(it => it.FullName == Context);
            input = parameters.FirstOrDefault(it => it.FullName != Context);
            output = method.ReturnType;
            if (output.IsGenericType && output.GetGenericTypeDefinition() == typeof(Task<>))
            {
                output = output.GetGenericArguments()[0];
            }
            else if (output == typeof(Task))
            {
                output = typeof(void);
            }
            serializer = Serializer.Of(method);
            try
            {
                target = method.IsStatic ? null : Activator.CreateInstance(type, true);
            }
            catch (TargetInvocationException error)
            {
                ExceptionDispatchInfo.Capture(error.InnerException).Throw();
            }
        }

        // Calls the method, and waits for what it promises.
        internal byte[] Answer(Request request)
        {
            var arguments = new object[method.GetParameters().Length];
            if (context != null)
            {
                arguments[arguments.Length - 1] = Supplied.Context(context, request);
            }
            if (input != null)
            {
                arguments[0] = input == typeof(Stream)
                    ? new MemoryStream(request.Body)
                    : serializer.Read(request.Body, input);
            }
            object result;
            try
            {
                result = method.Invoke(target, arguments);
                if (result is Task task && typeof(Task).IsAssignableFrom(method.ReturnType))
                {
                    task.GetAwaiter().GetResult();
                    result = output == typeof(void) ? null : task.GetType().GetProperty("Result").GetValue(task);
                }
            }
            catch (TargetInvocationException error) when (error.InnerException != null)
            {
                ExceptionDispatchInfo.Capture(error.InnerException).Throw();
                throw;
            }
            if (!(result is Stream stream))
            {
                return serializer.Write(result, output == typeof(void) ? typeof(object) : output);
            }
            using (stream)
            {
                var bytes = new MemoryStream();
                stream.CopyTo(bytes);
                return bytes.ToArray();
            }
        }

        static Assembly Load(string code, string name)
        {
            var path = new[] { ".dll", ".exe" }.Select(it => Path.Combine(code, name + it)).FirstOrDefault(File.Exists);
            if (path == null)
            {
                throw new LambdaValidationException($"Could not find the specified handler assembly with the file name "
                    + $"'{name}.dll'. The assembly should be located in the root of your uploaded .zip file.");
            }
            Assembly assembly;
            try
            {
                assembly = Assembly.LoadFrom(path);
            }
            catch (BadImageFormatException)
            {
                throw new LambdaValidationException($"Unable to load assembly '{name}': it is no assembly of .NET's.");
            }
            var references = assembly.GetReferencedAssemblies();
            var standard = references.FirstOrDefault(it => it.Name == "netstandard");
            if (standard != null && !Exists(standard))
            {
                throw new LambdaValidationException($"Unable to load assembly '{name}': it is built for .NET Standard, "
                    + $"whose assemblies this {Program.Version} lacks. Install them (Debian's package mono-devel).");
            }
            var modern = references
                .FirstOrDefault(it => it.Name == "System.Runtime" && it.Version.Major >= OldestModern);
            if (modern != null)
            {
                throw new LambdaValidationException($"Unable to load assembly '{name}': it is built for "
                    + $".NET {modern.Version.Major}, and this server runs C# with {Program.Version}. Build it for "
                    + "netstandard2.0 or net48, or deploy it as a container image or as a program of its own "
                    + "for provided.al2023.");
            }
            return assembly;
        }

        static bool Exists(AssemblyName name)
        {
            try
            {
                return Assembly.Load(name) != null;
            }
            catch (FileNotFoundException)
            {
                return false;
            }
        }

        void Judge(Type type)
        {
            if (type.ContainsGenericParameters || method.ContainsGenericParameters)
            {
                throw Unsupported("it is generic, or its type is");
            }
            if (method.IsAbstract || (type.IsAbstract && !method.IsStatic))
            {
                throw Unsupported("it is abstract, or its type is");
            }
            if (method.ReturnType == typeof(void) && method.IsDefined(typeof(AsyncStateMachineAttribute)))
            {
                throw Unsupported("it is an 'async void' method");
            }
            if (method.GetParameters().Any(it => it.IsDefined(typeof(ParamArrayAttribute))))
            {
                throw Unsupported("it is a 'params' method");
            }
        }

        LambdaValidationException Unsupported(string reason)
        {
            return new LambdaValidationException(
                $"Method '{method.Name}' of type '{method.DeclaringType}' is not supported: {reason}.");
        }
    }
}
