// In the place of a modern .NET's own assembly, which what is built for it refers to.
[assembly: System.Reflection.AssemblyVersion("8.0.0.0")]

namespace System
{
    public class Modern
    {
    }
}
