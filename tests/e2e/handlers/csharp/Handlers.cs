// What the matrix of runtime clients invokes, in C#.
using System;
using System.Collections;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Amazon.Lambda.Core;

// What AWS's package of that name declares, as far as these handlers go.
namespace Amazon.Lambda.Core
{
    public interface ILambdaContext
    {
        string AwsRequestId { get; }
        IClientContext ClientContext { get; }
        string FunctionName { get; }
        string FunctionVersion { get; }
        ICognitoIdentity Identity { get; }
        string InvokedFunctionArn { get; }
        ILambdaLogger Logger { get; }
        string LogGroupName { get; }
        string LogStreamName { get; }
        int MemoryLimitInMB { get; }
        TimeSpan RemainingTime { get; }
    }

    public interface IClientContext
    {
        IDictionary<string, string> Environment { get; }
        IClientApplication Client { get; }
        IDictionary<string, string> Custom { get; }
    }

    public interface IClientApplication
    {
        string AppTitle { get; }
    }

    public interface ICognitoIdentity
    {
        string IdentityId { get; }
        string IdentityPoolId { get; }
    }

    public interface ILambdaLogger
    {
        void Log(string message);
        void LogLine(string message);
    }

    public interface ILambdaSerializer
    {
        T Deserialize<T>(Stream request);
        void Serialize<T>(T response, Stream to);
    }

    public sealed class LambdaSerializerAttribute : Attribute
    {
        public LambdaSerializerAttribute(Type type)
        {
            SerializerType = type;
        }

        public Type SerializerType { get; set; }
    }
}

public class OrderRefused : Exception
{
    public OrderRefused(string message)
        : base(message)
    {
    }
}

public enum Size
{
    Small,
    Large,
}

public class Item
{
    public string Name { get; set; }
    public decimal Price { get; set; }
    public Size Size { get; set; }
}

public class Order
{
    public long Number { get; set; }
    public List<Item> Items { get; set; }
    public Dictionary<string, int[]> Marks { get; set; }
    public DateTime? Due { get; set; }
    public bool Paid;
}

public class Shout : ILambdaSerializer
{
    public T Deserialize<T>(Stream request)
    {
        return (T)(object)new StreamReader(request).ReadToEnd().ToUpperInvariant();
    }

    public void Serialize<T>(T response, Stream to)
    {
        var writer = new StreamWriter(to);
        writer.Write(response);
        writer.Flush();
    }
}

public class Handlers
{
    static int calls;
    static long ticks;
    readonly string instance = Guid.NewGuid().ToString();

    public object echo(object it)
    {
        return it;
    }

    public void nothing()
    {
    }

    public int length(Dictionary<string, string> it)
    {
        return it["text"].Length;
    }

    public string repeat(Dictionary<string, int> it)
    {
        return new string('x', it["times"]);
    }

    public object throwing()
    {
        throw new ArgumentException("boom");
    }

    public async Task<string> custom()
    {
        await Task.Delay(1);
        throw new OrderRefused("order 7: ¡no! 😀");
    }

    public object unserialisable()
    {
        var round = new Dictionary<string, object>();
        round["round"] = round;
        return round;
    }

    public void exit_zero()
    {
        Environment.Exit(0);
    }

    public void exit_one()
    {
        Environment.Exit(1);
    }

    public void killed()
    {
        Process.GetCurrentProcess().Kill();
        Thread.Sleep(60000);
    }

    public string hang(Dictionary<string, bool> it)
    {
        Thread.Sleep(it.ContainsKey("hang") ? 60000 : 0);
        return instance;
    }

    public object crash_sometimes(Dictionary<string, bool> it)
    {
        calls += 1;
        if (it.ContainsKey("crash"))
        {
            Environment.Exit(3);
        }
        return new { instance, calls };
    }

    public object count()
    {
        calls += 1;
        File.AppendAllText("/tmp/calls", "x");
        return new { instance, calls, kept = new FileInfo("/tmp/calls").Length };
    }

    public async Task<object> busy(object it, ILambdaContext context)
    {
        var began = Now();
        await Task.Delay(300);
        return new { instance, request = context.AwsRequestId, began, ended = Now() };
    }

    static long Now()
    {
        return (DateTime.UtcNow - new DateTime(1970, 1, 1)).Ticks / 10;
    }

    public object context(ILambdaContext context)
    {
        return new
        {
            request_id = context.AwsRequestId,
            name = context.FunctionName,
            version = context.FunctionVersion,
            arn = context.InvokedFunctionArn,
            memory = context.MemoryLimitInMB,
            log_group = context.LogGroupName,
            log_stream = context.LogStreamName,
            remaining = (long)context.RemainingTime.TotalMilliseconds,
            client = context.ClientContext?.Custom,
        };
    }

    public object environment()
    {
        var shown = Environment.GetEnvironmentVariables();
        shown["PWD"] = Directory.GetCurrentDirectory();
        return shown;
    }

    public static string trace()
    {
        return Environment.GetEnvironmentVariable("_X_AMZN_TRACE_ID");
    }

    public long ticking()
    {
        if (calls == 0)
        {
            new Thread(() =>
            {
                while (true)
                {
                    Thread.Sleep(1);
                    Interlocked.Increment(ref ticks);
                }
            }) { IsBackground = true }.Start();
        }
        calls += 1;
        return Interlocked.Read(ref ticks);
    }

    public string log(Dictionary<string, int> it, ILambdaContext context)
    {
        Console.WriteLine("to standard output");
        Console.Error.WriteLine("to standard error");
        context.Logger.LogLine("unicode: grüße 😀");
        if (it.ContainsKey("long"))
        {
            Console.WriteLine(new string('y', it["long"]));
        }
        return "logged";
    }

    public string flood(Dictionary<string, int> it)
    {
        var line = new string('z', 1023);
        for (var n = 0; n < it["kib"]; n += 1)
        {
            Console.Error.WriteLine(line);
        }
        return "flooded";
    }

    public Order order(Order order)
    {
        order.Number += order.Items.Count(item => item.Size == Size.Large);
        return order;
    }

    public Stream backwards(Stream it)
    {
        var turned = new StreamReader(it).ReadToEnd().Reverse().ToArray();
        return new MemoryStream(System.Text.Encoding.UTF8.GetBytes(turned));
    }

    [LambdaSerializer(typeof(Shout))]
    public string named_serializer(string it)
    {
        return it;
    }

    public async void promises()
    {
        await Task.Delay(1);
    }

    public object several(object one, object two)
    {
        return one ?? two;
    }
}
