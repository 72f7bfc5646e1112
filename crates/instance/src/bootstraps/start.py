# The runtime proper is a module, so that the interpreter keeps it compiled.
import lambda_bootstrap

lambda_bootstrap.main()
