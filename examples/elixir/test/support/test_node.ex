# SPDX-License-Identifier: Apache-2.0
defmodule Shelf.TestNode do
  @moduledoc """
  A second node: an OS process of its own, controlled over its standard input and output, with the
  same code. Distribution is not used.
  """

  defstruct [:peer, :node, :port]

  @cookie "of the shelf's tests"

  @doc "Starts a node that runs :gen_rpc with these settings, and the shelf."
  def start(settings \\ []) do
    paths = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])

    # Not linked: it lives as long as a module's tests, and setup_all ends before them.
    {:ok, peer, node} =
      :peer.start(%{
        name: :peer.random_name(),
        host: ~c"127.0.0.1",
        longnames: true,
        connection: :standard_io,
        args: [~c"-start_epmd", ~c"false", ~c"-dist_listen", ~c"false" | paths]
      })

    t = %__MODULE__{peer: peer, node: node}
    :ok = run(t, :application, :load, [:gen_rpc])

    for {key, value} <- Keyword.merge([tcp_server_port: 0, secret_cookie: @cookie], settings) do
      :ok = run(t, :application, :set_env, [:gen_rpc, key, value])
    end

    {:ok, _} = run(t, :application, :ensure_all_started, [:shelf])
    %{t | port: run(t, :gen_rpc_listener, :port_number, [])}
  end

  @doc "Runs a function there, not by :gen_rpc."
  def run(%__MODULE__{peer: peer}, m, f, a), do: :peer.call(peer, m, f, a, 60_000)

  @doc "Stops the node, also one that has been killed."
  def stop(%__MODULE__{peer: peer}) do
    :peer.stop(peer)
  catch
    :exit, :noproc -> :ok
  end

  @doc "Kills its OS process, and waits until it is gone."
  def kill(%__MODULE__{peer: peer} = t) do
    monitor = Process.monitor(peer)
    signal("KILL", os_pid(t))
    receive do: ({:DOWN, ^monitor, _, _, _} -> :ok)
  end

  @doc "Stops its OS process as a debugger does. The result is for thaw/1."
  def freeze(t) do
    os_pid = os_pid(t)
    signal("STOP", os_pid)
    os_pid
  end

  def thaw(os_pid), do: signal("CONT", os_pid)

  defp os_pid(t), do: to_string(run(t, :os, :getpid, []))

  # To a node that is gone already, too.
  defp signal(name, os_pid), do: System.cmd("kill", ["-" <> name, os_pid], stderr_to_stdout: true)

  @doc "Tells :gen_rpc here the way to a node, while it runs."
  def way_to(%{node: node, port: port}) do
    {:internal, ways} = Application.fetch_env!(:gen_rpc, :client_config_per_node)
    ways = Map.put(ways, node, {:tcp, port})
    :ok = Application.put_env(:gen_rpc, :client_config_per_node, {:internal, ways})
    :ok = :gen_rpc.reconfigure()
  end

  @doc "Waits until a condition holds."
  def wait(condition, left \\ 500) do
    cond do
      condition.() -> :ok
      left > 0 -> Process.sleep(20) && wait(condition, left - 1)
      true -> raise "a condition has never held"
    end
  end
end
