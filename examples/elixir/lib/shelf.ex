# SPDX-License-Identifier: Apache-2.0
defmodule Shelf do
  @moduledoc """
  A table of keys and values that is spread over several nodes, by way of `:gen_rpc`.

  A key belongs to one of the nodes in the application's `:nodes`. What is done with one key always
  goes over the same connection to that node, one of a few: a large value delays only the others of
  its lane.
  """

  @lanes 4

  @type reason ::
          :unreachable
          | :timeout
          | :overload
          | {:lost, term}
          | {:refused, term}
          | {:crashed, term}

  @doc "The node that a key belongs to, with the lane: what `:gen_rpc` takes as a destination."
  @spec dest(term) :: {node, lane :: non_neg_integer}
  def dest(key) do
    nodes = Application.fetch_env!(:shelf, :nodes)
    {Enum.at(nodes, :erlang.phash2(key, length(nodes))), :erlang.phash2({:lane, key}, @lanes)}
  end

  @spec put(term, term, timeout) :: :ok | {:error, reason}
  def put(key, value, timeout \\ 5_000), do: call(key, :put, [key, value], timeout)

  @spec get(term, timeout) :: {:ok, term} | :missing | {:error, reason}
  def get(key, timeout \\ 5_000), do: call(key, :get, [key], timeout)

  @doc """
  Does not wait for the other node. `:ok` says that the value is on its way, an error that it is
  not.
  """
  @spec put_later(term, term) :: :ok | {:error, reason}
  def put_later(key, value) do
    case :gen_rpc.safe_cast(dest(key), Shelf.Server, :put, [key, value]) do
      true -> :ok
      {class, why} -> {:error, reason(class, why)}
    end
  end

  @doc "Likewise. What one process adds to one key is added in that order."
  @spec prepend_later(term, term) :: :ok
  def prepend_later(key, item) do
    true = :gen_rpc.ordered_cast(dest(key), Shelf.Server, :prepend, [key, item])
    :ok
  end

  @doc """
  Replaces a value by what the function makes of it there. The other node must have the module that
  the function was made in, in the same version.

  This one is for callers who want exceptions: `KeyError` if there is no such key, whatever the
  function raises, and `Shelf.Error` if the other node was not asked, or has not answered.
  """
  @spec update!(term, (term -> term), timeout) :: term
  def update!(key, fun, timeout \\ 5_000) do
    :gen_rpc_erpc.call(dest(key), Shelf.Server, :update!, [key, fun], timeout)
  rescue
    e in ErlangError ->
      case e.original do
        {:exception, reason, stack} -> reraise Exception.normalize(:error, reason, stack), stack
        {:erpc, reason} -> reraise Shelf.Error, [reason: reason], __STACKTRACE__
      end
  end

  @doc "The number of keys on each node that answers, and the nodes that don't."
  @spec sizes(timeout) :: {%{node => non_neg_integer}, [node]}
  def sizes(timeout \\ 5_000) do
    nodes = Application.fetch_env!(:shelf, :nodes)
    {results, bad} = :gen_rpc.multicall(nodes, Shelf.Server, :size, [], timeout)
    sizes = for {node, {:ok, size}} <- Enum.zip(nodes -- bad, results), do: {node, size}
    {Map.new(sizes), bad}
  end

  defp call(key, function, args, timeout) do
    case :gen_rpc.call(dest(key), Shelf.Server, function, args, timeout) do
      {class, why} when class in [:badrpc, :badtcp] -> {:error, reason(class, why)}
      result -> result
    end
  end

  defp reason(:badrpc, :nodedown), do: :unreachable
  defp reason(:badrpc, :timeout), do: :timeout
  defp reason(:badrpc, :overload), do: :overload
  defp reason(:badrpc, {:EXIT, why}), do: {:crashed, why}
  defp reason(:badrpc, why), do: {:refused, why}
  defp reason(:badtcp, why), do: {:lost, why}
end
