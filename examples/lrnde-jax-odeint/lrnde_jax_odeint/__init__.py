"""An lrnde adapter for `jax.experimental.ode.odeint`, whose steps are hidden in a compiled loop."""
