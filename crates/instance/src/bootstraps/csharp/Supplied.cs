using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.Remoting.Messaging;
using System.Runtime.Remoting.Proxies;

namespace Tidemill
{
    // An object for an interface that is the function's: `Amazon.Lambda.Core` comes with the package, in the
    // version that it was built with, so that this program cannot be built with it.
    sealed class Supplied : RealProxy
    {
        readonly Type type;
        readonly Dictionary<string, Func<Type, object>> properties;

        Supplied(Type type, Dictionary<string, Func<Type, object>> properties)
            : base(type)
        {
            this.type = type;
            this.properties = properties;
        }

        // An `ILambdaContext`.
        internal static object Context(Type type, Request request)
        {
            var deadline = new DateTime(1970, 1, 1, 0, 0, 0, DateTimeKind.Utc)
                .AddMilliseconds(long.Parse(request["Lambda-Runtime-Deadline-Ms"] ?? "0"));
            var client = Parsed(request["Lambda-Runtime-Client-Context"]);
            var identity = Parsed(request["Lambda-Runtime-Cognito-Identity"]);
            return Of(type, new Dictionary<string, Func<Type, object>>
            {
                { "AwsRequestId", _ => request["Lambda-Runtime-Aws-Request-Id"] },
                { "ClientContext", it => client == null ? null : Client(it, client) },
                { "FunctionName", _ => Variable("AWS_LAMBDA_FUNCTION_NAME") },
                { "FunctionVersion", _ => Variable("AWS_LAMBDA_FUNCTION_VERSION") },
                { "Identity", it => Texts(it, identity, "IdentityId", "cognitoIdentityId", "IdentityPoolId", "cognitoIdentityPoolId") },
                { "InvokedFunctionArn", _ => request["Lambda-Runtime-Invoked-Function-Arn"] },
                { "Logger", it => Of(it, new Dictionary<string, Func<Type, object>>()) },
                { "LogGroupName", _ => Variable("AWS_LAMBDA_LOG_GROUP_NAME") },
                { "LogStreamName", _ => Variable("AWS_LAMBDA_LOG_STREAM_NAME") },
                { "MemoryLimitInMB", _ => int.Parse(Variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")) },
                { "RemainingTime", _ => deadline - DateTime.UtcNow },
                { "TenantId", _ => request["Lambda-Runtime-Aws-Tenant-Id"] },
                { "TraceId", _ => request["Lambda-Runtime-Trace-Id"] },
            });
        }

        public override IMessage Invoke(IMessage message)
        {
            var call = (IMethodCallMessage)message;
            try
            {
                return new ReturnMessage(Answer(call), null, 0, call.LogicalCallContext, call);
            }
            catch (Exception error)
            {
                return new ReturnMessage(error, call);
            }
        }

        object Answer(IMethodCallMessage call)
        {
            var method = (System.Reflection.MethodInfo)call.MethodBase;
            if (method.Name.StartsWith("get_") && properties.TryGetValue(method.Name.Substring(4), out var property))
            {
                return property(method.ReturnType);
            }
            switch (method.Name)
            {
                // Of a logger.
                case "Log":
                case "LogLine":
                    Console.WriteLine(call.GetArg(call.ArgCount - 1));
                    return null;
                case "ToString":
                    return type.FullName;
                case "GetHashCode":
                    return GetHashCode();
                case "Equals":
                    return ReferenceEquals(GetTransparentProxy(), call.GetArg(0));
                case "GetType":
                    return type;
                default:
                    throw new NotSupportedException($"this server supplies no {type.FullName}.{method.Name}");
            }
        }

        static object Of(Type type, Dictionary<string, Func<Type, object>> properties)
        {
            return new Supplied(type, properties).GetTransparentProxy();
        }

        // An `IClientContext`.
        static object Client(Type type, IDictionary<string, object> told)
        {
            return Of(type, new Dictionary<string, Func<Type, object>>
            {
                { "Environment", it => Json.To(Member(told, "env"), it) },
                { "Custom", it => Json.To(Member(told, "custom"), it) },
                {
                    "Client",
                    it => Texts(it, Member(told, "client") as IDictionary<string, object>,
                        "InstallationId", "installation_id", "AppTitle", "app_title", "AppVersionName", "app_version_name",
                        "AppVersionCode", "app_version_code", "AppPackageName", "app_package_name")
                },
            });
        }

        // Properties that are texts, each followed by the name of its member.
        static object Texts(Type type, IDictionary<string, object> told, params string[] names)
        {
            var properties = new Dictionary<string, Func<Type, object>>();
            for (var at = 0; at < names.Length; at += 2)
            {
                var text = Member(told, names[at + 1]) as string;
                properties[names[at]] = _ => text;
            }
            return Of(type, properties);
        }

        static object Member(IDictionary<string, object> told, string name)
        {
            object value = null;
            told?.TryGetValue(name, out value);
            return value;
        }

        static IDictionary<string, object> Parsed(string json)
        {
            return string.IsNullOrEmpty(json) ? null : Json.Read(json) as IDictionary<string, object>;
        }

        static string Variable(string name)
        {
            return Environment.GetEnvironmentVariable(name);
        }
    }
}
