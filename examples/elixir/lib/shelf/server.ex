# SPDX-License-Identifier: Apache-2.0
defmodule Shelf.Server do
  @moduledoc """
  A node's part of the shelf: a table, and the functions that other nodes run on it.

  They return `{:ok, _}` or `:ok`, so that no value is ever taken for the `{:badrpc, _}` of a call.
  """
  use GenServer

  @table __MODULE__

  def start_link(_), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @spec put(term, term) :: :ok
  def put(key, value) do
    true = :ets.insert(@table, {key, value})
    :ok
  end

  @spec get(term) :: {:ok, term} | :missing
  def get(key) do
    case :ets.lookup(@table, key) do
      [{^key, value}] -> {:ok, value}
      [] -> :missing
    end
  end

  @doc "Puts an item in front of the list under a key."
  @spec prepend(term, term) :: :ok
  def prepend(key, item) do
    case get(key) do
      {:ok, items} -> put(key, [item | items])
      :missing -> put(key, [item])
    end
  end

  @doc "Replaces a value by what the function makes of it. Raises `KeyError` if there is none."
  @spec update!(term, (term -> term)) :: term
  def update!(key, fun) do
    case get(key) do
      {:ok, value} ->
        new = fun.(value)
        :ok = put(key, new)
        new

      :missing ->
        raise KeyError, key: key, term: @table
    end
  end

  @spec size() :: {:ok, non_neg_integer}
  def size, do: {:ok, :ets.info(@table, :size)}

  @impl true
  def init(nil) do
    @table = :ets.new(@table, [:named_table, :public, read_concurrency: true])
    {:ok, nil}
  end
end
