# SPDX-License-Identifier: Apache-2.0
defmodule GenRpcTest do
  @moduledoc "`:gen_rpc` as an Elixir program sees it, between two nodes."
  use ExUnit.Case

  alias Shelf.{TestNode, TestTarget}
  alias Shelf.TestTarget.Point

  @nobody :"nobody@127.0.0.1"

  setup_all do
    other = TestNode.start()
    on_exit(fn -> TestNode.stop(other) end)
    TestNode.way_to(other)
    # A port that was free a moment ago.
    TestNode.way_to(%{node: @nobody, port: free_port()})
    {:ok, node: other.node}
  end

  describe "calls" do
    test "run on the other node and return what the function returns", %{node: node} do
      assert :gen_rpc.call(node, :erlang, :node, []) == node
      assert :gen_rpc.call(node, :erlang, :node) == node
      assert :gen_rpc.call(node, String, :upcase, ["größe"]) == "GRÖSSE"
      assert :gen_rpc.call(node, Enum, :map, [1..3, &Integer.to_string/1]) == ["1", "2", "3"]
      assert Node.list() == []
      assert node in :gen_rpc.nodes()
    end

    test "carry any term there and back", %{node: node} do
      for term <- [
            nil,
            "text",
            <<1::3>>,
            1.5,
            -(2 ** 100),
            ~c"charlist",
            %{"a" => [b: {:c, 1..2}]},
            %Point{x: 1, y: nil},
            MapSet.new([1, 2]),
            ~D[2026-11-27],
            self(),
            make_ref(),
            :binary.copy("0123456789", 200_000)
          ] do
        assert :gen_rpc.call(node, Function, :identity, [term]) === term
      end
    end

    test "take functions of a module that both nodes have", %{node: node} do
      assert :gen_rpc.call(node, &Node.self/0) == node
      add = TestTarget.adder(40)
      assert :gen_rpc.call(node, :erlang, :apply, [add, [2]]) == 42
      assert :gen_rpc.call(node, TestTarget.thrower(:ball), 5_000) == :ball
      assert :gen_rpc.call(node, Enum, :map, [[1, 2], add]) == [41, 42]
    end

    test "say that a function's module is not there", %{node: node} do
      # This module was compiled from an .exs file in this VM, and is nowhere else.
      assert {:badrpc, {:EXIT, {:undef, _}}} = :gen_rpc.call(node, fn -> 1 end)
    end

    test "run here, if this is the node" do
      assert :gen_rpc.call(node(), Kernel, :self, []) != self()
      assert :gen_rpc.call({node(), "key"}, String, :length, ["four"]) == 4
    end

    test "can ask for a version of a module", %{node: node} do
      [version] = Shelf.Server.module_info(:attributes)[:vsn]
      assert {:ok, _} = :gen_rpc.call(node, {Shelf.Server, version}, :size, [])
      assert :gen_rpc.call(node, {Shelf.Server, :old}, :size, []) == {:badrpc, :incompatible}
      assert :gen_rpc.call(node, {NoSuchModule, 1}, :f, []) == {:badrpc, :incompatible}
    end
  end

  describe "a key" do
    test "can be any term, and each has a connection of its own", %{node: node} do
      keys = ["binary", :atom, 1, 1.0, %{a: 1}, %Point{x: 1}, {:a, "b"}, [1], nil, ~r/a/, node]

      for key <- keys do
        assert :gen_rpc.call({node, key}, Node, :self, []) == node
      end

      ports = for key <- keys, do: port(node, key)
      assert length(Enum.uniq(ports)) == length(keys)
      assert port(node, %Point{x: 1}) == port(node, %Point{y: nil, x: 1})
      assert Enum.count(:gen_rpc.nodes(), &(&1 == node)) == 1
    end
  end

  describe "errors are values:" do
    test "raise", %{node: node} do
      assert {:badrpc, {:EXIT, {%ArgumentError{message: "no"}, [_ | _]}}} =
               :gen_rpc.call(node, TestTarget, :raise_it, [ArgumentError.exception("no")])

      assert {:badrpc, {:EXIT, {%KeyError{key: :b}, _}}} =
               :gen_rpc.call(node, Keyword, :fetch!, [[a: 1], :b])

      assert {:badrpc, {:EXIT, {:badarith, _}}} = :gen_rpc.call(node, Kernel, :div, [1, 0])
    end

    test "raise, as an exception again", %{node: node} do
      {:badrpc, {:EXIT, {reason, stack}}} = :gen_rpc.call(node, Kernel, :div, [1, 0])
      assert %ArithmeticError{} = Exception.normalize(:error, reason, stack)
    end

    test "throw, whose value is the result", %{node: node} do
      assert :gen_rpc.call(node, :erlang, :throw, ["ball"]) == "ball"
    end

    test "exit", %{node: node} do
      assert :gen_rpc.call(node, Kernel, :exit, [:enough]) == {:badrpc, {:EXIT, :enough}}
    end

    test "a function that does not exist", %{node: node} do
      assert {:badrpc, {:EXIT, {:undef, [{String, :no_such, [], _} | _]}}} =
               :gen_rpc.call(node, String, :no_such, [])
    end

    test "a time limit that is over, and nothing is left in the mailbox", %{node: node} do
      assert :gen_rpc.call(node, Process, :sleep, [:infinity], 50) == {:badrpc, :timeout}
      assert :gen_rpc.call(node, Process, :sleep, [10_000], 0) == {:badrpc, :timeout}
      assert Process.info(self(), :message_queue_len) == {:message_queue_len, 0}
    end

    test "nobody there" do
      assert :gen_rpc.call(@nobody, Node, :self, []) == {:badrpc, :nodedown}
      assert :gen_rpc.call({@nobody, "key"}, Node, :self, []) == {:badrpc, :nodedown}
    end

    test "a node that is killed under a call" do
      doomed = TestNode.start()
      TestNode.way_to(doomed)
      key = :gen_rpc.async_call(doomed.node, Process, :sleep, [:infinity])
      assert :gen_rpc.nb_yield(key) == :timeout
      TestNode.wait(fn -> :gen_rpc.call(doomed.node, Node, :self, []) == doomed.node end)
      TestNode.kill(doomed)
      assert {:badtcp, _} = :gen_rpc.yield(key)
      assert :gen_rpc.call(doomed.node, Node, :self, []) == {:badrpc, :nodedown}
    end
  end

  describe "errors that are raised:" do
    test "arguments of a wrong type are an ArgumentError", %{node: node} do
      assert_raise ArgumentError, fn -> :gen_rpc.call("node", Node, :self, []) end
      assert_raise ArgumentError, fn -> :gen_rpc.call(node, "Node", :self, []) end
      assert_raise ArgumentError, fn -> :gen_rpc.call(node, Node, :self, :none) end
      assert_raise ArgumentError, fn -> :gen_rpc.call(node, Node, :self, [], -1) end
      assert_raise ArgumentError, fn -> :gen_rpc.call(node, fn _ -> 1 end) end
      assert_raise ArgumentError, fn -> :gen_rpc.cast(node, Node, :self, [], 1.0) end
      assert_raise ArgumentError, fn -> :gen_rpc.safe_cast(node, Node, "self") end
      assert_raise ArgumentError, fn -> :gen_rpc.yield(:no_key) end
      assert_raise ArgumentError, fn -> :gen_rpc.multicall([node, "x"], Node, :self, []) end
      assert_raise ArgumentError, fn -> :gen_rpc.abcast([node], "name", 1) end
    end
  end

  describe "casts" do
    test "run, and are always true", %{node: node} do
      start_notes(node, :cast_notes)
      assert :gen_rpc.cast(node, TestTarget, :note, [:cast_notes, {:from, self()}]) == true
      me = self()
      wait_for_notes(node, :cast_notes, &(&1 == [from: me]))
      assert :gen_rpc.cast(@nobody, TestTarget, :note, [:cast_notes, 1]) == true
    end

    test "in order run in order", %{node: node} do
      start_notes(node, :ordered_notes)

      for i <- 1..200 do
        assert :gen_rpc.ordered_cast({node, "lane"}, TestTarget, :note, [:ordered_notes, i])
      end

      wait_for_notes(node, :ordered_notes, &(&1 == Enum.to_list(1..200)))
    end

    test "that are safe say what a cast was not sent for", %{node: node} do
      start_notes(node, :safe_notes)
      assert :gen_rpc.safe_cast(node, TestTarget, :note, [:safe_notes, 1]) == true
      wait_for_notes(node, :safe_notes, &(&1 == [1]))
      assert :gen_rpc.safe_cast(node, Node, :self) == true
      assert :gen_rpc.safe_cast(node, Node, :self, [], 1_000) == true
      assert :gen_rpc.safe_cast(@nobody, Node, :self) == {:badrpc, :nodedown}
    end
  end

  describe "a safe cast" do
    test "says that a connection is busy, where a cast raises" do
      busy = TestNode.start()
      TestNode.way_to(busy)
      on_exit(fn -> TestNode.stop(busy) end)
      assert :gen_rpc.call(busy.node, Node, :self, []) == busy.node

      # Stopped as by a debugger. It takes what fits into the buffers between the two, and no more.
      os_pid = TestNode.freeze(busy)
      on_exit(fn -> TestNode.thaw(os_pid) end)
      megabyte = :binary.copy("0123456789", 100_000)
      cast = fn -> :gen_rpc.safe_cast(busy.node, Function, :identity, [megabyte]) end
      results = Stream.repeatedly(cast) |> Stream.take(1_000)
      assert Enum.find(results, &(&1 != true)) == {:badrpc, :overload}

      assert_raise ErlangError, "Erlang error: :overload", fn ->
        :gen_rpc.cast(busy.node, Function, :identity, [megabyte])
      end

      TestNode.thaw(os_pid)
      TestNode.wait(fn -> cast.() == true end)
    end

    test "says that it is too big" do
      small = TestNode.start(max_message_size: 2_048)
      on_exit(fn -> TestNode.stop(small) end)
      TestNode.way_to(small)
      args = [:binary.copy("0123456789", 1_000)]

      assert {:badrpc, {:message_too_big, size, 2_048}} =
               :gen_rpc.safe_cast(small.node, Function, :identity, args)

      assert size > 10_000
      assert :gen_rpc.safe_cast(small.node, Function, :identity, ["small"]) == true
    end

    test "says that the cookies differ" do
      stranger = TestNode.start(secret_cookie: "another one")
      on_exit(fn -> TestNode.stop(stranger) end)
      TestNode.way_to(stranger)
      assert :gen_rpc.safe_cast(stranger.node, Node, :self) == {:badrpc, :invalid_cookie}
      assert :gen_rpc.call(stranger.node, Node, :self) == {:badrpc, :invalid_cookie}
    end
  end

  describe "calls whose result is taken later" do
    test "by yield", %{node: node} do
      keys = for i <- 1..10, do: :gen_rpc.async_call(node, Integer, :to_string, [i])
      assert Enum.map(keys, &:gen_rpc.yield/1) == Enum.map(1..10, &Integer.to_string/1)
    end

    test "by nb_yield, or not yet", %{node: node} do
      start_notes(node, :async_notes)
      slow = :gen_rpc.async_call(node, Process, :sleep, [:infinity])
      assert :gen_rpc.nb_yield(slow) == :timeout
      assert :gen_rpc.nb_yield(slow, 20) == :timeout
      quick = :gen_rpc.async_call(node, TestTarget, :notes, [:async_notes])
      assert :gen_rpc.nb_yield(quick, 5_000) == {:value, []}
    end

    test "by another process, as a Task for example", %{node: node} do
      key = :gen_rpc.async_call(node, Node, :self)
      assert Task.await(Task.async(fn -> :gen_rpc.yield(key) end)) == node
    end

    test "once", %{node: node} do
      key = :gen_rpc.async_call(node, Node, :self)
      assert :gen_rpc.yield(key) == node
      assert :gen_rpc.yield(key) == {:badrpc, :timeout}
    end
  end

  describe "many nodes" do
    test "multicall: results in order, and those who have none", %{node: node} do
      nodes = [node(), @nobody, node, {node, "key"}]
      assert :gen_rpc.multicall(nodes, Node, :self, []) == {[node(), node, node], [@nobody]}

      assert {[_, {:badrpc, {:EXIT, {:badarith, _}}}], []} =
               :gen_rpc.multicall([node(), node], Kernel, :div, [1, 0], 5_000)

      assert :gen_rpc.multicall([node], Process, :sleep, [:infinity], 50) == {[], [node]}
    end

    test "eval_everywhere, abcast and sbcast", %{node: node} do
      start_notes(node, :broadcast_notes)
      all = [node, @nobody]
      assert :gen_rpc.eval_everywhere(all, TestTarget, :note, [:broadcast_notes, 1]) == :abcast
      wait_for_notes(node, :broadcast_notes, &(&1 == [1]))
      assert :gen_rpc.sbcast(all, :broadcast_notes, {:note, 2}) == {[node], [@nobody]}
      assert :gen_rpc.abcast(all, :broadcast_notes, {:note, 3}) == :abcast
      wait_for_notes(node, :broadcast_notes, &(&1 == [1, 2, 3]))
      assert :gen_rpc.sbcast([node], :nobody_is_called_so, 1) == {[], [node]}
    end
  end

  describe "gen_rpc_erpc raises" do
    test "an ErlangError with reason and stack for what the function raised", %{node: node} do
      error =
        assert_raise ErlangError, fn -> :gen_rpc_erpc.call(node, Keyword, :fetch!, [[], :a]) end

      assert {:exception, %KeyError{key: :a}, [_ | _]} = error.original
    end

    test "what was thrown, and exits", %{node: node} do
      assert catch_throw(:gen_rpc_erpc.call(node, TestTarget.thrower("ball"))) == "ball"
      assert catch_exit(:gen_rpc_erpc.call(node, Kernel, :exit, [:no])) == {:exception, :no}
    end

    test "an ErlangError for what happened on the way", %{node: node} do
      reason = fn fun -> assert_raise(ErlangError, fun).original end
      sleep = fn -> :gen_rpc_erpc.call(node, Process, :sleep, [:infinity], 50) end
      assert reason.(sleep) == {:erpc, :timeout}

      assert reason.(fn -> :gen_rpc_erpc.call(@nobody, Node, :self, []) end) ==
               {:erpc, :noconnection}

      assert reason.(fn -> :gen_rpc_erpc.call("node", Node, :self, []) end) == {:erpc, :badarg}
    end

    test "nothing, if all is well", %{node: node} do
      assert :gen_rpc_erpc.call(node, &Node.self/0) == node
      request = :gen_rpc_erpc.send_request(node, Node, :self, [])
      assert :gen_rpc_erpc.receive_response(request, 5_000) == node

      assert :gen_rpc_erpc.multicall([node, @nobody], Node, :self, []) ==
               [ok: node, error: {:erpc, :noconnection}]

      assert :gen_rpc_erpc.cast(node, Node, :self, []) == :ok
    end
  end

  describe "settings" do
    test "are those of config/config.exs" do
      assert :gen_rpc_config.get(:call_receive_timeout) == 5_000
      assert :gen_rpc_config.get(:cast_overload_policy) == :error
      assert :gen_rpc_config.get(:sbcast_receive_timeout) == 15_000
    end

    test "can change at run time, and a wrong one changes nothing" do
      Application.put_env(:gen_rpc, :send_timeout, 1_000)
      assert :gen_rpc.reconfigure() == :ok
      assert :gen_rpc_config.get(:send_timeout) == 1_000
      Application.put_env(:gen_rpc, :send_timeout, "1000")

      assert {:error, {:invalid_setting, :send_timeout, "1000", allowed}} = :gen_rpc.reconfigure()
      assert to_string(allowed) =~ "milliseconds"
      assert :gen_rpc_config.get(:send_timeout) == 1_000
    after
      Application.put_env(:gen_rpc, :send_timeout, 2_000)
      :ok = :gen_rpc.reconfigure()
    end

    test "can limit what may be called", %{node: node} do
      guarded = TestNode.start(rpc_module_control: :whitelist, rpc_module_list: [String])
      TestNode.way_to(guarded)
      assert :gen_rpc.call(guarded.node, String, :upcase, ["a"]) == "A"
      assert :gen_rpc.call(guarded.node, System, :halt, []) == {:badrpc, :unauthorized}
      assert :gen_rpc.call(guarded.node, Node, :self, []) == {:badrpc, :unauthorized}
      assert :gen_rpc.call(node, Node, :self, []) == node
      TestNode.stop(guarded)
    end
  end

  defp port(node, key) do
    {:ok, port} = :gen_rpc_registry.lookup({node, key})
    port
  end

  defp start_notes(node, name) do
    assert :gen_rpc.call(node, TestTarget, :start_notes, [name]) == :ok
  end

  defp wait_for_notes(node, name, condition) do
    TestNode.wait(fn -> condition.(:gen_rpc.call(node, TestTarget, :notes, [name])) end)
  end

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_tcp.close(socket)
    port
  end
end
