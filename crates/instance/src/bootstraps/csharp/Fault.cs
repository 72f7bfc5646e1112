using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;

namespace Tidemill
{
    // The package is not what a function has to be: AWS's word for it.
    sealed class LambdaValidationException : Exception
    {
        internal LambdaValidationException(string message)
            : base(message)
        {
        }
    }

    // An exception in AWS's shape.
    sealed class Fault
    {
        readonly Exception error;

        internal Fault(Exception error)
        {
            this.error = error;
        }

        internal string Message => error.Message;

        // A header cannot carry every name that a type can have.
        internal string Type => new string(error.GetType().Name.Select(it => it < ' ' || it > '~' ? '?' : it).ToArray());

        internal string Text
        {
            get
            {
                var text = new StringBuilder();
                for (var it = error; it != null; it = it.InnerException)
                {
                    text.Append(it == error ? "" : "\n ---> ").Append(it.GetType()).Append(": ").Append(it.Message);
                    foreach (var frame in Frames(it))
                    {
                        text.Append("\n   ").Append(frame);
                    }
                }
                return text.ToString();
            }
        }

        internal Dictionary<string, object> Members => Of(error);

        internal byte[] Json()
        {
            return Encoding.UTF8.GetBytes(Tidemill.Json.Write(Members));
        }

        static Dictionary<string, object> Of(Exception error)
        {
            var members = new Dictionary<string, object>
            {
                { "errorType", error.GetType().Name },
                { "errorMessage", error.Message },
            };
            var trace = Frames(error).ToArray();
            if (trace.Length > 0)
            {
                members["stackTrace"] = trace;
            }
            if (error.InnerException != null)
            {
                members["cause"] = Of(error.InnerException);
            }
            if (error is AggregateException all)
            {
                members["causes"] = all.InnerExceptions.Select(Of).ToArray();
            }
            return members;
        }

        // The function's own, without who called it.
        static IEnumerable<string> Frames(Exception error)
        {
            return (error.StackTrace ?? "").Split('\n')
                .Select(frame => frame.Trim())
                .TakeWhile(frame => !frame.StartsWith("at Tidemill.", StringComparison.Ordinal)
                    && !frame.StartsWith("at (wrapper managed-to-native) System.Reflection.", StringComparison.Ordinal))
                .Where(frame => frame != "");
        }
    }
}
