using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Tidemill
{
    // An event as it came: its headers by any spelling, and its body.
    sealed class Request
    {
        internal readonly Dictionary<string, string> Headers =
            new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);

        internal byte[] Body = new byte[0];

        internal string this[string header] => Headers.TryGetValue(header, out var value) ? value : null;
    }

    // The Runtime API over one connection that stays open. By hand rather than with `HttpClient`, which takes
    // longer to load than many functions to run: the other end always states the length of its body.
    sealed class RuntimeApi
    {
        const string Prefix = "/2018-06-01/runtime/";

        readonly string address;
        readonly Stream stream;
        readonly Stream reader;

        internal RuntimeApi(string address)
        {
            this.address = address;
            var colon = address.LastIndexOf(':');
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            socket.Connect(IPAddress.Parse(address.Substring(0, colon)), int.Parse(address.Substring(colon + 1)));
            stream = new NetworkStream(socket, true);
            reader = new BufferedStream(stream, 64 * 1024);
        }

        internal Request Get(string resource)
        {
            return Exchange($"GET {Prefix}{resource} HTTP/1.1\r\nHost: {address}\r\n\r\n", new byte[0]);
        }

        internal void Post(string resource, byte[] body, string errorType = null)
        {
            var head = $"POST {Prefix}{resource} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n";
            if (errorType != null)
            {
                head += $"Lambda-Runtime-Function-Error-Type: {errorType}\r\n";
            }
            Exchange($"{head}Content-Length: {body.Length}\r\n\r\n", body);
        }

        Request Exchange(string head, byte[] body)
        {
            var bytes = Encoding.UTF8.GetBytes(head);
            Array.Resize(ref bytes, bytes.Length + body.Length);
            body.CopyTo(bytes, bytes.Length - body.Length);
            stream.Write(bytes, 0, bytes.Length);
            ReadLine();
            var answer = new Request();
            for (var line = ReadLine(); line != ""; line = ReadLine())
            {
                var colon = line.IndexOf(':');
                answer.Headers[line.Substring(0, colon)] = line.Substring(colon + 1).Trim();
            }
            answer.Body = new byte[int.Parse(answer["Content-Length"] ?? "0")];
            for (var read = 0; read < answer.Body.Length;)
            {
                var more = reader.Read(answer.Body, read, answer.Body.Length - read);
                read += more > 0 ? more : throw new EndOfStreamException();
            }
            return answer;
        }

        string ReadLine()
        {
            var line = new MemoryStream();
            for (var it = reader.ReadByte(); it != '\n'; it = reader.ReadByte())
            {
                if (it < 0)
                {
                    // The platform has gone, and so must this process.
                    Environment.Exit(1);
                }
                line.WriteByte((byte)it);
            }
            return Encoding.UTF8.GetString(line.ToArray()).TrimEnd('\r');
        }
    }
}
