using System;
using System.Collections;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Reflection;
using System.Text;

namespace Tidemill
{
    sealed class JsonException : Exception
    {
        internal JsonException(string message)
            : base(message)
        {
        }
    }

    // JSON without a package: as dictionaries, lists, texts, numbers (`long`, `decimal`, or `double` where only that
    // holds it), truths and nulls; and those as values of other types.
    static class Json
    {
        // How deep values nest (System.Text.Json, 2026).
        const int Deepest = 64;

        internal static object Read(string text)
        {
            return new JsonReader(text, Deepest).All();
        }

        // A value of type `type` that holds what `value` does. Members go to properties and fields by their names,
        // whatever the case; members that have none are left out.
        internal static object To(object value, Type type)
        {
            var plain = Nullable.GetUnderlyingType(type) ?? type;
            if (value == null)
            {
                return plain == type && type.IsValueType ? throw Mismatch(null, type) : (object)null;
            }
            if (plain.IsInstanceOfType(value))
            {
                return value;
            }
            if (value is string text)
            {
                return OfText(text, plain);
            }
            if (value is Dictionary<string, object> members)
            {
                return OfMembers(members, plain);
            }
            return value is List<object> items ? OfItems(items, plain) : OfNumber(value, plain);
        }

        internal static string Write(object value)
        {
            var text = new StringBuilder();
            Write(text, value, 0);
            return text.ToString();
        }

        static object OfText(string text, Type type)
        {
            try
            {
                if (type.IsEnum)
                {
                    return Enum.Parse(type, text, true);
                }
                if (type == typeof(DateTime))
                {
                    return DateTime.Parse(text, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind);
                }
                if (type == typeof(DateTimeOffset))
                {
                    return DateTimeOffset.Parse(text, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind);
                }
                if (type == typeof(TimeSpan))
                {
                    return TimeSpan.Parse(text, CultureInfo.InvariantCulture);
                }
                if (type == typeof(Guid))
                {
                    return Guid.Parse(text);
                }
                if (type == typeof(Uri))
                {
                    return new Uri(text, UriKind.RelativeOrAbsolute);
                }
                if (type == typeof(byte[]))
                {
                    return Convert.FromBase64String(text);
                }
                if (type == typeof(char) && text.Length == 1)
                {
                    return text[0];
                }
            }
            catch (Exception error) when (error is FormatException || error is ArgumentException || error is OverflowException)
            {
            }
            throw Mismatch(text, type);
        }

        static object OfNumber(object value, Type type)
        {
            if (type.IsEnum && value is long number)
            {
                return Enum.ToObject(type, number);
            }
            var fits = value is bool
                ? type == typeof(bool)
                : type.IsPrimitive && type != typeof(bool) && type != typeof(char) || type == typeof(decimal);
            var whole = value is long || type == typeof(double) || type == typeof(float) || type == typeof(decimal);
            try
            {
                return fits && (whole || value is bool)
                    ? Convert.ChangeType(value, type, CultureInfo.InvariantCulture)
                    : throw Mismatch(value, type);
            }
            catch (OverflowException)
            {
                throw Mismatch(value, type);
            }
        }

        static object OfItems(List<object> items, Type type)
        {
            if (type.IsArray && type.GetArrayRank() == 1)
            {
                var array = Array.CreateInstance(type.GetElementType(), items.Count);
                for (var at = 0; at < items.Count; at += 1)
                {
                    array.SetValue(To(items[at], type.GetElementType()), at);
                }
                return array;
            }
            if (type.IsGenericType && type.GetGenericArguments().Length == 1)
            {
                var of = type.GetGenericArguments()[0];
                var made = type.IsInterface ? typeof(List<>).MakeGenericType(of) : type;
                var add = typeof(ICollection<>).MakeGenericType(of).GetMethod("Add");
                if (type.IsAssignableFrom(made) && add.DeclaringType.IsAssignableFrom(made) && HasPlain(made))
                {
                    var list = Activator.CreateInstance(made);
                    foreach (var item in items)
                    {
                        add.Invoke(list, new[] { To(item, of) });
                    }
                    return list;
                }
            }
            throw Mismatch(items, type);
        }

        static object OfMembers(Dictionary<string, object> members, Type type)
        {
            var generic = type.IsGenericType ? type.GetGenericArguments() : new Type[0];
            if (generic.Length == 2 && generic[0] == typeof(string))
            {
                var made = typeof(Dictionary<,>).MakeGenericType(generic);
                if (type.IsAssignableFrom(made))
                {
                    var dictionary = (IDictionary)Activator.CreateInstance(made);
                    foreach (var member in members)
                    {
                        dictionary[member.Key] = To(member.Value, generic[1]);
                    }
                    return dictionary;
                }
            }
            if (type.IsPrimitive || type.IsEnum || type == typeof(string) || typeof(IEnumerable).IsAssignableFrom(type) || !HasPlain(type))
            {
                throw Mismatch(members, type);
            }
            var value = Activator.CreateInstance(type);
            foreach (var member in members)
            {
                const BindingFlags named = BindingFlags.Public | BindingFlags.Instance | BindingFlags.IgnoreCase;
                var found = type.GetMember(member.Key, MemberTypes.Property | MemberTypes.Field, named).FirstOrDefault();
                if (found is PropertyInfo property && property.GetSetMethod() != null && property.GetIndexParameters().Length == 0)
                {
                    property.SetValue(value, To(member.Value, property.PropertyType));
                }
                else if (found is FieldInfo field && !field.IsInitOnly)
                {
                    field.SetValue(value, To(member.Value, field.FieldType));
                }
            }
            return value;
        }

        static bool HasPlain(Type type)
        {
            return !type.IsAbstract && (type.IsValueType || type.GetConstructor(Type.EmptyTypes) != null);
        }

        static JsonException Mismatch(object value, Type type)
        {
            var what = value == null ? "null"
                : value is string ? "a text"
                : value is bool ? "a truth"
                : value is IDictionary ? "an object"
                : value is IList ? "an array"
                : "a number";
            return new JsonException($"{what} cannot become a value of type {type.FullName}");
        }

        static void Write(StringBuilder to, object value, int depth)
        {
            if (depth > Deepest)
            {
                throw new JsonException($"values nest deeper than {Deepest}, or hold themselves");
            }
            if (value is string || value is char || value is Guid || value is TimeSpan || value is Uri)
            {
                WriteText(to, Convert.ToString(value, CultureInfo.InvariantCulture));
            }
            else if (value is DateTime || value is DateTimeOffset)
            {
                WriteText(to, ((IFormattable)value).ToString("o", CultureInfo.InvariantCulture));
            }
            else if (value is byte[] bytes)
            {
                WriteText(to, Convert.ToBase64String(bytes));
            }
            else if (value is IDictionary members)
            {
                var entries = members.Keys.Cast<object>()
                    .Select(key => Pair(Convert.ToString(key, CultureInfo.InvariantCulture), members[key]));
                WriteAll(to, '{', entries, '}', depth);
            }
            else if (value is IEnumerable items)
            {
                WriteAll(to, '[', items.Cast<object>().Select(it => Pair(null, it)), ']', depth);
            }
            else
            {
                var word = Word(value);
                if (word == null)
                {
                    WriteAll(to, '{', Members(value), '}', depth);
                }
                to.Append(word);
            }
        }

        // What is written without quotes or members; null for what has members.
        static string Word(object value)
        {
            if (value == null)
            {
                return "null";
            }
            if (value is bool truth)
            {
                return truth ? "true" : "false";
            }
            if (value is Enum named)
            {
                return named.ToString("D");
            }
            if (value is double || value is float)
            {
                var number = Convert.ToDouble(value);
                return double.IsNaN(number) || double.IsInfinity(number)
                    ? throw new JsonException($"{number} is no number of JSON's")
                    : ((IFormattable)value).ToString("R", CultureInfo.InvariantCulture);
            }
            if (value is Delegate || value is MemberInfo)
            {
                throw new JsonException($"a value of type {value.GetType().FullName} has no form in JSON");
            }
            return value is decimal || value.GetType().IsPrimitive
                ? ((IFormattable)value).ToString(null, CultureInfo.InvariantCulture)
                : null;
        }

        static IEnumerable<KeyValuePair<string, object>> Members(object value)
        {
            const BindingFlags visible = BindingFlags.Public | BindingFlags.Instance;
            var properties = value.GetType().GetProperties(visible)
                .Where(it => it.GetGetMethod() != null && it.GetIndexParameters().Length == 0)
                .Select(it => Pair(it.Name, it.GetValue(value)));
            return properties.Concat(value.GetType().GetFields(visible).Select(it => Pair(it.Name, it.GetValue(value))));
        }

        static KeyValuePair<string, object> Pair(string key, object value)
        {
            return new KeyValuePair<string, object>(key, value);
        }

        static void WriteAll(StringBuilder to, char open, IEnumerable<KeyValuePair<string, object>> pairs, char close, int depth)
        {
            to.Append(open);
            var first = true;
            foreach (var pair in pairs)
            {
                if (!first)
                {
                    to.Append(',');
                }
                first = false;
                if (pair.Key != null)
                {
                    WriteText(to, pair.Key);
                    to.Append(':');
                }
                Write(to, pair.Value, depth + 1);
            }
            to.Append(close);
        }

        static void WriteText(StringBuilder to, string text)
        {
            to.Append('"');
            foreach (var it in text)
            {
                switch (it)
                {
                    case '"':
                    case '\\':
                        to.Append('\\').Append(it);
                        break;
                    case '\n':
                        to.Append("\\n");
                        break;
                    default:
                        if (it < ' ')
                        {
                            to.Append("\\u").Append(((int)it).ToString("x4"));
                        }
                        else
                        {
                            to.Append(it);
                        }
                        break;
                }
            }
            to.Append('"');
        }
    }
}
