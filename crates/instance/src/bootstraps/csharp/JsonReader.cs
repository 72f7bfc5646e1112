using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace Tidemill
{
    // One JSON text.
    sealed class JsonReader
    {
        readonly string text;
        readonly int deepest;
        int at;

        internal JsonReader(string text, int deepest)
        {
            this.text = text;
            this.deepest = deepest;
        }

        internal object All()
        {
            var value = Value(0);
            Skip();
            return at == text.Length ? value : throw Unexpected();
        }

        object Value(int depth)
        {
            if (depth > deepest)
            {
                throw new JsonException($"values nest deeper than {deepest} at character {at}");
            }
            Skip();
            switch (at < text.Length ? text[at] : '\0')
            {
                case '{':
                    return Members(depth);
                case '[':
                    return Items(depth);
                case '"':
                    return Text();
                case 't':
                    return Word("true", true);
                case 'f':
                    return Word("false", false);
                case 'n':
                    return Word("null", null);
                default:
                    return Number();
            }
        }

        Dictionary<string, object> Members(int depth)
        {
            var members = new Dictionary<string, object>();
            at += 1;
            if (Takes('}'))
            {
                return members;
            }
            do
            {
                Skip();
                var name = at < text.Length && text[at] == '"' ? Text() : throw Unexpected();
                if (!Takes(':'))
                {
                    throw Unexpected();
                }
                members[name] = Value(depth + 1);
            }
            while (Takes(','));
            return Takes('}') ? members : throw Unexpected();
        }

        List<object> Items(int depth)
        {
            var items = new List<object>();
            at += 1;
            if (Takes(']'))
            {
                return items;
            }
            do
            {
                items.Add(Value(depth + 1));
            }
            while (Takes(','));
            return Takes(']') ? items : throw Unexpected();
        }

        string Text()
        {
            at += 1;
            StringBuilder pieces = null;
            while (true)
            {
                var end = at;
                while (end < text.Length && text[end] != '"' && text[end] != '\\' && text[end] >= ' ')
                {
                    end += 1;
                }
                var piece = text.Substring(at, end - at);
                at = end;
                if (at == text.Length || text[at] < ' ')
                {
                    throw Unexpected();
                }
                at += 1;
                if (text[at - 1] == '"')
                {
                    return pieces == null ? piece : pieces.Append(piece).ToString();
                }
                pieces = (pieces ?? new StringBuilder()).Append(piece).Append(Escaped());
            }
        }

        char Escaped()
        {
            var it = at < text.Length ? text[at] : throw Unexpected();
            at += 1;
            if (it == 'u' && at + 4 <= text.Length && ushort.TryParse(text.Substring(at, 4),
                NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var code))
            {
                at += 4;
                return (char)code;
            }
            var which = "\"\\/bfnrt".IndexOf(it);
            return which < 0 ? throw Unexpected() : "\"\\/\b\f\n\r\t"[which];
        }

        object Number()
        {
            var from = at;
            while (at < text.Length && (char.IsDigit(text[at]) || "+-.eE".IndexOf(text[at]) >= 0))
            {
                at += 1;
            }
            var number = text.Substring(from, at - from);
            if (!IsNumber(number))
            {
                at = from;
                throw Unexpected();
            }
            if (long.TryParse(number, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole))
            {
                return whole;
            }
            const NumberStyles exact = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint;
            if (number.Length < 28 && decimal.TryParse(number, exact, CultureInfo.InvariantCulture, out var part))
            {
                return part;
            }
            return double.TryParse(number, NumberStyles.Float, CultureInfo.InvariantCulture, out var rough)
                ? rough
                : throw new JsonException($"{number} is too large a number");
        }

        // -? (0 | 1-9 digits) (. digits)? (e sign? digits)?
        static bool IsNumber(string number)
        {
            var at = number != "" && number[0] == '-' ? 1 : 0;
            var whole = Digits(number, ref at);
            if (whole == 0 || (whole > 1 && number[at - whole] == '0'))
            {
                return false;
            }
            if (at < number.Length && number[at] == '.')
            {
                at += 1;
                if (Digits(number, ref at) == 0)
                {
                    return false;
                }
            }
            if (at < number.Length && (number[at] == 'e' || number[at] == 'E'))
            {
                at += 1;
                at += at < number.Length && (number[at] == '+' || number[at] == '-') ? 1 : 0;
                if (Digits(number, ref at) == 0)
                {
                    return false;
                }
            }
            return at == number.Length;
        }

        static int Digits(string number, ref int at)
        {
            var from = at;
            while (at < number.Length && number[at] >= '0' && number[at] <= '9')
            {
                at += 1;
            }
            return at - from;
        }

        object Word(string word, object value)
        {
            if (string.CompareOrdinal(text, at, word, 0, word.Length) != 0)
            {
                throw Unexpected();
            }
            at += word.Length;
            return value;
        }

        bool Takes(char it)
        {
            Skip();
            var taken = at < text.Length && text[at] == it;
            at += taken ? 1 : 0;
            return taken;
        }

        void Skip()
        {
            while (at < text.Length && " \t\r\n".IndexOf(text[at]) >= 0)
            {
                at += 1;
            }
        }

        JsonException Unexpected()
        {
            return new JsonException(at < text.Length ? $"'{text[at]}' is not expected at character {at}" : "it ends too early");
        }
    }
}
