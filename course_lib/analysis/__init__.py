"""What the lecture looks at: curvature, unrolled loops, memory, tangent features, transduction."""
