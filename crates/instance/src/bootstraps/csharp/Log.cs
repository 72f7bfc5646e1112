using System;
using System.Collections.Generic;
using System.IO;
using System.Text;

namespace Tidemill
{
    // What is printed: lines that tell the time, the request and a level, as text or as JSON.
    static class Log
    {
        static readonly Stream Output = Console.OpenStandardOutput();
        static readonly Encoding Utf8 = new UTF8Encoding(false);
        static readonly bool IsJson = Environment.GetEnvironmentVariable("AWS_LAMBDA_LOG_FORMAT") == "JSON";
        static readonly Lines Out = new Lines("info", "Information");
        static readonly Lines Error = new Lines("fail", "Error");

        // The request that runs.
        internal static volatile string Request;

        internal static void TakeConsole()
        {
            Console.SetOut(Out);
            Console.SetError(Error);
        }

        // Ends lines that were begun.
        internal static void Finish()
        {
            Out.Finish();
            Error.Finish();
        }

        internal static void Write(Fault fault)
        {
            Write(Error, fault.Text, fault);
        }

        static void Write(Lines by, string message, Fault fault = null)
        {
            var time = DateTime.UtcNow.ToString("yyyy-MM-ddTHH:mm:ss.fffZ");
            string line;
            if (IsJson)
            {
                var record = new Dictionary<string, object> { { "timestamp", time }, { "level", by.Level } };
                record["requestId"] = Request;
                record["message"] = fault == null ? message : fault.Message;
                foreach (var member in fault?.Members ?? new Dictionary<string, object>())
                {
                    record[member.Key] = member.Value;
                }
                line = Json.Write(record);
            }
            else
            {
                line = $"{time}\t{Request}\t{by.Label}\t{message}";
            }
            var bytes = Utf8.GetBytes(line + "\n");
            lock (Output)
            {
                Output.Write(bytes, 0, bytes.Length);
                Output.Flush();
            }
        }

        sealed class Lines : TextWriter
        {
            internal readonly string Label;
            internal readonly string Level;
            readonly StringBuilder begun = new StringBuilder();

            internal Lines(string label, string level)
            {
                Label = label;
                Level = level;
            }

            public override Encoding Encoding => Utf8;

            public override void Write(char it)
            {
                Write(it.ToString());
            }

            public override void Write(char[] buffer, int index, int count)
            {
                Write(new string(buffer, index, count));
            }

            public override void Write(string text)
            {
                lock (begun)
                {
                    var from = 0;
                    for (int end; text != null && (end = text.IndexOf('\n', from)) >= 0; from = end + 1)
                    {
                        begun.Append(text, from, end - from);
                        End();
                    }
                    begun.Append(text, from, (text?.Length ?? 0) - from);
                }
            }

            internal void Finish()
            {
                lock (begun)
                {
                    if (begun.Length > 0)
                    {
                        End();
                    }
                }
            }

            void End()
            {
                var line = begun.ToString();
                begun.Clear();
                Log.Write(this, line);
            }
        }
    }
}
