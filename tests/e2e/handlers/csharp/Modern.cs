// Built with an assembly that is not in the package, as if for a modern .NET.
public class Function : System.Modern
{
    public void Handle()
    {
    }
}
