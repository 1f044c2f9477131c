# SPDX-License-Identifier: Apache-2.0
defmodule Shelf.MixProject do
  use Mix.Project

  def project do
    [
      app: :shelf,
      version: "0.1.0",
      elixir: "~> 1.14",
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      deps: deps()
    ]
  end

  def application do
    [extra_applications: [:logger], mod: {Shelf.Application, []}]
  end

  # In a project of your own: {:gen_rpc, git: url, branch: "main"}
  defp deps, do: [{:gen_rpc, path: "../.."}]

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_), do: ["lib"]
end
