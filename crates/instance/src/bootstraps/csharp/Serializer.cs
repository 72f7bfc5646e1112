using System;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.ExceptionServices;
using System.Text;

namespace Tidemill
{
    // How events become values and results become bytes: by the serializer that the function names with
    // `LambdaSerializer`, or else by our own.
    class Serializer
    {
        const string Attribute = "Amazon.Lambda.Core.LambdaSerializerAttribute";
        const string Interface = "Amazon.Lambda.Core.ILambdaSerializer";

        // As AWS looks for it: the method's before the assembly's.
        internal static Serializer Of(MethodInfo method)
        {
            var attributes = method.GetCustomAttributes(false)
                .Concat(method.DeclaringType.Assembly.GetCustomAttributes(false));
            var attribute = attributes.FirstOrDefault(it => it.GetType().FullName == Attribute);
            if (attribute == null)
            {
                return new Serializer();
            }
            var type = (Type)attribute.GetType().GetProperty("SerializerType").GetValue(attribute);
            var contract = type.GetInterface(Interface) ?? throw new LambdaValidationException(
                $"The '{type.FullName}' class is invalid: it does not implement the 'ILambdaSerializer' interface.");
            return new Named(Activator.CreateInstance(type), contract);
        }

        internal virtual object Read(byte[] bytes, Type type)
        {
            try
            {
                return Json.To(Json.Read(Encoding.UTF8.GetString(bytes)), type);
            }
            catch (JsonException error)
            {
                throw new JsonSerializerException(
                    $"Error converting the Lambda event JSON payload to type {type.FullName}: {error.Message}");
            }
        }

        internal virtual byte[] Write(object value, Type type)
        {
            try
            {
                return Encoding.UTF8.GetBytes(Json.Write(value));
            }
            catch (JsonException error)
            {
                throw new JsonSerializerException($"Error converting the response object of type {type.FullName} from the "
                    + $"Lambda function to JSON: {error.Message}");
            }
        }

        sealed class Named : Serializer
        {
            readonly object serializer;
            readonly Type contract;

            internal Named(object serializer, Type contract)
            {
                this.serializer = serializer;
                this.contract = contract;
            }

            internal override object Read(byte[] bytes, Type type)
            {
                return Call("Deserialize", type, new MemoryStream(bytes));
            }

            internal override byte[] Write(object value, Type type)
            {
                var bytes = new MemoryStream();
                Call("Serialize", type, value, bytes);
                return bytes.ToArray();
            }

            object Call(string name, Type type, params object[] arguments)
            {
                try
                {
                    return contract.GetMethod(name).MakeGenericMethod(type).Invoke(serializer, arguments);
                }
                catch (TargetInvocationException error)
                {
                    ExceptionDispatchInfo.Capture(error.InnerException).Throw();
                    throw;
                }
            }
        }
    }

    // AWS's word for what is no JSON of the type that the function takes, or cannot become JSON.
    sealed class JsonSerializerException : Exception
    {
        internal JsonSerializerException(string message)
            : base(message)
        {
        }
    }
}
