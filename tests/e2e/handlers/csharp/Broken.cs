using System;

public class Broken
{
    public Broken()
    {
        throw new InvalidOperationException("no database");
    }

    public void Handle()
    {
    }
}
